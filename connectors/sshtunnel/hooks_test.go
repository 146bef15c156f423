package sshtunnel

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"xvault/connectors"
	"xvault/internal/job"
	"xvault/internal/secret"
	"xvault/internal/testenv"
)

func TestHooksNeedAMachine(t *testing.T) {
	t.Parallel()
	for config, fault := range map[string]string{
		`{}`: "",
		`{"ssh":{"host":"h","username":"u"},"hooks":{"before":"true"}}`: "",
		`{"hooks":{"before":"true"}}`:                                   "hooks",
	} {
		f := connectors.ParseFields([]byte(config))
		Hooks(f, Parse(f))
		if faults := f.Faults(); (fault == "") != (len(faults) == 0) || fault != "" && faults[0].Field != fault {
			t.Errorf("%s: %v", config, faults)
		}
	}
}

func TestRun(t *testing.T) {
	t.Parallel()
	server := testenv.SSHD(t, testenv.SSHOptions{})
	config, err := json.Marshal(map[string]any{"ssh": map[string]any{
		"host": server.Host(), "port": server.Port(), "username": server.User, "host_keys": []string{server.HostKey()}, "credential_id": "x",
	}})
	if err != nil {
		t.Fatal(err)
	}
	env := connectors.Env{
		Credential:    job.Credential{Type: "password", Password: secret.New("of the database")},
		SSHCredential: job.Credential{Type: "private_key", PrivateKey: secret.New(server.ClientKeyPEM)},
	}
	// What a command says is quoted, and its shell is the user's own.
	said, err := Run(t.Context(), config, env, `printf 'a\tb\033[2J\n'; echo "$((6*7))" >&2`)
	if err != nil || !strings.Contains(said, `a\tb\x1b[2J`) || !strings.Contains(said, "42") { // the two streams come as they come
		t.Errorf("%q, %v", said, err)
	}
	_, err = Run(t.Context(), config, env, "yes loud | head -c 1000000 >&2; echo the end >&2; exit 3")
	if e, ok := errors.AsType[*job.Error](err); !ok || e.Code != job.DumpFailed || !strings.Contains(e.Message, "status 3") ||
		!strings.HasSuffix(e.Message, "the end") || len(e.Message) > 3000 {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithTimeoutCause(t.Context(), 200*time.Millisecond, job.Errorf(job.Timeout, "too long"))
	defer cancel()
	began := time.Now()
	if _, err = Run(ctx, config, env, "sleep 600"); job.CodeOf(err) != job.Timeout || time.Since(began) > 30*time.Second {
		t.Errorf("%v after %v", err, time.Since(began))
	}
	if _, err = Run(t.Context(), []byte(`{}`), env, "true"); job.CodeOf(err) != job.ConfigInvalid {
		t.Error(err)
	}
}
