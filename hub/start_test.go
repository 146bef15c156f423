package hub_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"xvault/hub"
	"xvault/internal/secret"
	"xvault/internal/testenv"
	"xvault/migrations"
	"xvault/store/catalog"
)

// refusal starts a hub that must not start, and gives its reason.
func (l *lab) refusal(change func(*hub.Config)) error {
	l.t.Helper()
	h, err := hub.New(context.Background(), l.config(change))
	if err == nil {
		h.Close()
		l.t.Fatal("the hub starts")
	}
	return err
}

func TestSettingsAreChecked(t *testing.T) {
	t.Parallel()
	l := &lab{t: t, db: testenv.Catalog(t), redis: testenv.Redis(t)}
	const short = "hunter2-hunter2-hunter2-hunter2" // 31
	cases := map[string]struct {
		change func(*hub.Config)
		want   string
	}{
		"no catalog":         {func(c *hub.Config) { c.DatabaseURL = secret.Text{} }, "DATABASE_URL"},
		"odd catalog":        {func(c *hub.Config) { c.DatabaseURL = secret.New("postgres://u:hunter2@h:x/") }, "DATABASE_URL"},
		"no Redis":           {func(c *hub.Config) { c.RedisURL = secret.Text{} }, "REDIS_URL"},
		"odd Redis":          {func(c *hub.Config) { c.RedisURL = secret.New("http://:hunter2@h/") }, "REDIS_URL"},
		"no operator's key":  {func(c *hub.Config) { c.OperatorKey = secret.Text{} }, "HUB_OPERATOR_KEY"},
		"short operator key": {func(c *hub.Config) { c.OperatorKey = secret.New(short) }, "HUB_OPERATOR_KEY"},
		"short join token":   {func(c *hub.Config) { c.JoinToken = secret.New(short) }, "HUB_WORKER_JOIN_TOKEN"},
		"same key twice":     {func(c *hub.Config) { c.JoinToken = c.OperatorKey }, "differ"},
		"no KEK":             {func(c *hub.Config) { c.EncryptionKEK = secret.Text{} }, "HUB_ENCRYPTION_KEK"},
		"odd KEK":            {func(c *hub.Config) { c.EncryptionKEK = secret.New("hunter2:hunter2") }, "HUB_ENCRYPTION_KEK"},
		"half of TLS":        {func(c *hub.Config) { c.TLSCertFile = "/x" }, "HUB_TLS_KEY_FILE"},
		"no certificate":     {func(c *hub.Config) { c.TLSCertFile, c.TLSKeyFile = "/nope", "/nope" }, "/nope"},
		"odd address":        {func(c *hub.Config) { c.ListenAddr = "8080" }, "HUB_LISTEN_ADDR"},
	}
	for name, c := range cases {
		err := l.refusal(c.change)
		if !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The quick start's key opens its catalog again, and nothing else does.
func TestTheCatalogOpensWithItsOwnKeysOnly(t *testing.T) {
	t.Parallel()
	const quickStart = "test-key-32-bytes-long!!!!!!"
	with := func(kek string) func(*hub.Config) {
		return func(c *hub.Config) { c.EncryptionKEK = secret.New(kek) }
	}
	l := start(t, with(quickStart))
	id, _ := l.tenant("one")
	l.stop()
	again := l.another(with(quickStart))
	again.must(200, operatorKey, "POST", "/api/v1/tenants/"+id+"/export-key", nil, nil)

	if err := l.refusal(with("another passphrase!!!")); !strings.Contains(err.Error(), "not the passphrase") {
		t.Errorf("wrong passphrase: %v", err)
	}
	err := l.refusal(with(kek("new")))
	var missing *catalog.MissingKeysError
	if !errors.As(err, &missing) || !strings.Contains(err.Error(), `"passphrase" (2 secrets)`) {
		t.Errorf("without the key: %v", err)
	}
	if n := l.count(`SELECT count(*) FROM encryption_keys`); n != 1 {
		t.Errorf("a refused start enrolled its key: %d keys", n)
	}
	// Another key of a name that the catalog knows.
	l.another(with(kek("k1") + ",passphrase:" + quickStart))
	if err := l.refusal(with("k1" + strings.TrimPrefix(kek("k2"), "k2") + ",passphrase:" + quickStart)); !strings.Contains(err.Error(), `"k1" is not the one`) {
		t.Errorf("wrong key: %v", err)
	}
}

// Hubs that start at once on an empty database migrate it once and agree on
// the salt of their passphrase.
func TestHubsStartAtOnce(t *testing.T) {
	t.Parallel()
	l := &lab{t: t, db: testenv.Postgres(t), redis: testenv.Redis(t)}
	hubs := make([]*hub.Hub, 3)
	var wg sync.WaitGroup
	for i := range hubs {
		cfg := l.config(func(c *hub.Config) { c.EncryptionKEK = secret.New("test-key-32-bytes-long!!!!!!") })
		wg.Go(func() {
			h, err := hub.New(context.Background(), cfg)
			if err != nil {
				t.Error(err)
			}
			hubs[i] = h
		})
	}
	wg.Wait()
	for _, h := range hubs {
		if h != nil {
			h.Close()
		}
	}
	if n := l.count(`SELECT count(*) FROM audit_events WHERE action = 'encryption_key.enroll'`); n != 1 {
		t.Errorf("the key was enrolled %d times", n)
	}
}

func TestTheCatalogMustBeOfThisVersion(t *testing.T) {
	t.Parallel()
	empty := &lab{t: t, db: testenv.Postgres(t), redis: testenv.Redis(t)}
	if err := empty.refusal(func(c *hub.Config) { c.SkipMigrations = true }); !errors.Is(err, migrations.ErrOlderCatalog) {
		t.Errorf("an empty catalog: %v", err)
	}
	l := start(t)
	l.exec(`UPDATE schema_migrations SET version = version + 1`)
	r := l.do("", "GET", "/readyz", nil)
	if r.status != 503 || !strings.Contains(string(r.body), `"migrations":"newer_than_this_hub"`) {
		t.Errorf("readyz: %d %s", r.status, r.body)
	}
	if err := l.refusal(func(*hub.Config) {}); !errors.Is(err, migrations.ErrNewerCatalog) {
		t.Errorf("a newer catalog: %v", err)
	}
}
