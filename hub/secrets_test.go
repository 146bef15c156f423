package hub_test

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"xvault/hub"
	"xvault/internal/secret"
	"xvault/internal/testenv"
)

// Canary secrets go in through every door, and are then looked for in a dump of
// the catalog, in Redis and in the log, as they are and encoded.
func TestSecretsRestNowhere(t *testing.T) {
	t.Parallel()
	const password, phrase = "canary-password-5b1e", "canary-passphrase-77aa"
	const operator, join, kekPhrase = "canary-operator-key-0123456789abcdef", "canary-join-token-0123456789abcdef", "canary-kek-passphrase-0123"
	l := start(t, func(c *hub.Config) {
		c.OperatorKey, c.JoinToken, c.EncryptionKEK = secret.New(operator), secret.New(join), secret.New(kekPhrase)
	})
	pem := privateKey(t, phrase)
	var tenant, kit, made, credential object
	l.must(201, operator, "POST", "/api/v1/tenants", object{"name": "one"}, &tenant)
	l.must(200, operator, "POST", "/api/v1/tenants/"+tenant.id()+"/export-key", nil, &kit)
	l.must(201, operator, "POST", "/api/v1/api-keys", object{"tenant_id": tenant.id(), "name": "n"}, &made)
	key := made.text("key")
	create := object{"kind": "source", "secret": object{"type": "password", "password": password}}
	r := l.do(key, "POST", "/api/v1/credentials", create, "Idempotency-Key", "k")
	if r.status != 201 {
		t.Fatalf("%d %s", r.status, r.body)
	}
	l.must(201, key, "POST", "/api/v1/credentials", object{"kind": "source", "secret": object{
		"type": "private_key", "private_key": pem, "passphrase": phrase,
	}}, &credential)
	l.must(200, key, "PUT", "/api/v1/credentials/"+credential.id()+"/secret", object{"type": "password", "password": password + "-2"}, nil)
	source := l.source(key, tenant.id(), credential.id())
	var job object
	l.must(201, key, "POST", "/api/v1/jobs", object{"source_id": source}, &job)
	testenv.Eventually(t, 2*time.Minute, func() bool { return strings.Contains(l.dumpRedis(), job.id()) }, "the job is not in Redis")
	l.do(key, "GET", "/api/v1/jobs/"+job.id(), nil)
	l.do("wrong-"+password, "GET", "/api/v1/sources", nil)
	l.stop()

	pemLine := strings.Split(pem, "\n")[2]
	secrets := map[string]string{
		"password": password, "passphrase": phrase, "private key": pemLine, "identity": kit.text("identity")[16:],
		"api key": key[len(key)-40:], "operator's key": operator, "join token": join, "KEK passphrase": kekPhrase,
	}
	places := map[string]string{
		"the catalog": testenv.DumpPostgres(t, l.db), "Redis": l.dumpRedis(), "the log": l.log.String(),
	}
	for place, content := range places {
		if !strings.Contains(content, job.id()) {
			t.Errorf("%s does not even hold the job's id: nothing was looked at", place)
		}
		for name, s := range secrets {
			for form, encoded := range map[string]string{
				"as it is": s, "in hex": hex.EncodeToString([]byte(s)), "in base64": base64.StdEncoding.EncodeToString([]byte(s))[:len(s)],
			} {
				if strings.Contains(content, encoded) {
					t.Errorf("%s holds the %s %s", place, name, form)
				}
			}
		}
	}
}

// dumpRedis gives every key of Redis with its serialized value.
func (l *lab) dumpRedis() string {
	l.t.Helper()
	opts, err := redis.ParseURL(l.redis.URL)
	if err != nil {
		l.t.Fatal(err)
	}
	client := redis.NewClient(opts)
	defer client.Close()
	ctx := context.Background()
	keys, err := client.Keys(ctx, "*").Result()
	if err != nil {
		l.t.Fatal(err)
	}
	var dump strings.Builder
	for _, key := range keys {
		value, err := client.Dump(ctx, key).Result()
		if err != nil && !errors.Is(err, redis.Nil) {
			l.t.Fatal(err)
		}
		dump.WriteString(key + "\n" + value + "\n")
	}
	return dump.String()
}
