package mysql

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"xvault/connectors"
	"xvault/internal/job"
	"xvault/internal/secret"
	"xvault/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// fullGrants is what a backup of a database needs.
func fullGrants(database string) []string {
	return []string{"SELECT, SHOW VIEW, TRIGGER, EVENT ON " + testenv.QuoteName(database) + ".*", "SELECT ON mysql.proc"}
}

// lab is a server with an account, and what reads it.
type lab struct {
	*testenv.MariaDBServer
	t        *testing.T
	password string
	account  string
	options  Options
	log      strings.Builder
	config   map[string]any
	env      connectors.Env
}

const labPassword = "a 'password' with \"quotes\", % and \\ 🎉"

func newLab(t *testing.T, m *testenv.MariaDBServer, grants []string, databases ...string) *lab {
	t.Helper()
	l := &lab{MariaDBServer: m, t: t, password: labPassword, options: Options{Patience: time.Minute}}
	l.account = m.Account(l.password, grants...)
	l.config = map[string]any{"host": "127.0.0.1", "port": m.Port(), "username": l.account, "databases": databases}
	l.env = connectors.Env{
		Credential: job.Credential{Type: "password", Password: secret.New(l.password)},
		Dial:       connectors.NewDialer(connectors.DialerConfig{}),
		Log:        slog.New(slog.NewTextHandler(&l.log, nil)),
		TempDir:    jobDir(t),
	}
	return l
}

// jobDir is a job's folder, in which nothing is left when it is over.
func jobDir(t *testing.T) func() (string, error) {
	t.Helper()
	return sync.OnceValues(func() (string, error) {
		dir, err := os.MkdirTemp("", "xvmy") //nolint:usetesting // short, for a socket
		t.Cleanup(func() { leftIn(t, dir) })
		return dir, err
	})
}

// leftIn checks that nothing was left in a job's folder.
func leftIn(t *testing.T, dir string) {
	t.Helper()
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 {
		t.Errorf("left in the job's folder: %v, %v", left, err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Error(err)
	}
}

func (l *lab) source() connectors.Source {
	l.t.Helper()
	raw, err := json.Marshal(l.config)
	if err != nil {
		l.t.Fatal(err)
	}
	config, faults := Validate(raw)
	if len(faults) > 0 {
		l.t.Fatalf("%s: %v", raw, faults)
	}
	s, err := New(l.options).Open(config, l.env)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() {
		for range 2 {
			if err := s.Close(); err != nil {
				l.t.Error(err)
			}
		}
	})
	return s
}

// read gives the dumps by their names.
func (l *lab) read() (map[string]string, error) {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), 2*time.Minute)
	defer cancel()
	dumps := map[string]string{}
	err := l.source().Read(ctx, func(item connectors.Item) error {
		b, err := io.ReadAll(item.Body)
		dumps[item.Path] = string(b)
		return err
	})
	return dumps, err
}

func (l *lab) mustRead() map[string]string {
	l.t.Helper()
	dumps, err := l.read()
	if err != nil {
		l.t.Fatalf("read: %v\n%s", err, l.log.String())
	}
	return dumps
}

func (l *lab) probe() (connectors.ProbeResult, error) {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), time.Minute)
	defer cancel()
	return l.source().Probe(ctx)
}

// wantError checks a failure's code, and what it tells.
func wantError(t *testing.T, what string, err error, code job.Code, tells ...string) {
	t.Helper()
	if job.CodeOf(err) != code || err == nil {
		t.Errorf("%s: %v, want code %s", what, err, code)
		return
	}
	for _, tell := range tells {
		if !strings.Contains(err.Error(), tell) {
			t.Errorf("%s: %v does not tell %q", what, err, tell)
		}
	}
	t.Logf("%s: %v", what, err)
}
