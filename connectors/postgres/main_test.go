package postgres_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"xvault/connectors"
	"xvault/connectors/postgres"
	"xvault/internal/job"
	"xvault/internal/secret"
	"xvault/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

var serial atomic.Int64

// database is one of a test's own.
type database struct {
	t    testing.TB
	url  *url.URL // as a superuser
	name string
}

func newDatabase(t testing.TB) *database {
	t.Helper()
	return at(t, testenv.Postgres(t))
}

func at(t testing.TB, address string) *database {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return &database{t, u, strings.TrimPrefix(u.Path, "/")}
}

// exec runs statements.
func (d *database) exec(statements ...string) {
	d.t.Helper()
	testenv.ExecPostgres(d.t, d.url.String(), statements...)
}

// role makes a role that may log in, and is gone after the test.
func (d *database) role(password, more string) string {
	d.t.Helper()
	name := fmt.Sprintf("role %d ü'\"\\", serial.Add(1))
	d.exec("CREATE ROLE " + quoted(name) + " LOGIN " + more + " PASSWORD " + literal(password))
	d.t.Cleanup(func() { d.exec("DROP OWNED BY "+quoted(name), "DROP ROLE "+quoted(name)) })
	return name
}

func literal(s string) string {
	return " E'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}

// config is a source's configuration that reads with the superuser.
func (d *database) config(more map[string]any) map[string]any {
	d.t.Helper()
	port, err := strconv.Atoi(d.url.Port())
	if err != nil {
		d.t.Fatal(err)
	}
	c := map[string]any{"host": d.url.Hostname(), "port": port, "username": d.url.User.Username(), "databases": []string{d.name}}
	for k, v := range more {
		if v == nil {
			delete(c, k)
		} else {
			c[k] = v
		}
	}
	return c
}

func (d *database) env() connectors.Env {
	password, _ := d.url.User.Password()
	return newEnv(d.t, password)
}

func newEnv(t testing.TB, password string) connectors.Env {
	t.Helper()
	return connectors.Env{
		Credential: job.Credential{Type: "password", Password: secret.New(password)},
		Dial:       connectors.NewDialer(connectors.DialerConfig{}),
		TempDir:    tempDir(t),
	}
}

// tempDir must be empty when everything was closed.
func tempDir(t testing.TB) func() (string, error) {
	t.Helper()
	dir := testenv.Dir(t)
	t.Cleanup(func() {
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("left in the temporary folder: %v, %v", left, err)
		}
	})
	return func() (string, error) { return dir, nil }
}

func open(t testing.TB, o postgres.Options, raw map[string]any, env connectors.Env) connectors.Source {
	t.Helper()
	text, err := json.Marshal(raw)
	if err != nil {
		t.Fatal(err)
	}
	kind := postgres.New(o)
	canonical, faults := kind.Validate(text)
	if len(faults) > 0 {
		t.Fatalf("%s: %v", text, faults)
	}
	source, err := kind.Open(canonical, env)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for range 2 {
			if err := source.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	return source
}

// dumped is what a source gave.
type dumped struct {
	names    []string
	content  map[string][]byte
	vanished []string
}

// collect reads everything, like an archive does: a body's error ends it.
func collect(source connectors.Source) (dumped, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	d := dumped{content: map[string][]byte{}}
	err := source.Read(ctx, func(item connectors.Item) error {
		if item.Err != nil {
			return fmt.Errorf("an unreadable item: %w", item.Err)
		}
		if item.Vanished {
			d.vanished = append(d.vanished, item.Path)
			return nil
		}
		content, err := io.ReadAll(item.Body)
		if err != nil {
			return fmt.Errorf("read %s: %w", item.Path, err)
		}
		d.names = append(d.names, item.Path)
		d.content[item.Path] = content
		return nil
	})
	return d, err
}

func mustCollect(t testing.TB, source connectors.Source) dumped {
	t.Helper()
	d, err := collect(source)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.IsSorted(d.names) {
		t.Errorf("not in the archive's order: %v", d.names)
	}
	return d
}

func wantCode(t testing.TB, err error, code job.Code, texts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want %s", code)
	}
	e, ok := errors.AsType[*job.Error](err)
	if !ok || e.Code != code {
		t.Fatalf("got %v, want %s", err, code)
	}
	for _, text := range texts {
		if !strings.Contains(e.Message, text) {
			t.Errorf("the message does not say %q: %s", text, e.Message)
		}
	}
}

// wantRestored checks that a dump restores to what the database is.
func (d *database) wantRestored(dump []byte) {
	d.t.Helper()
	testenv.SamePostgres(d.t, testenv.FingerprintPostgres(d.t, d.url.String()), testenv.FingerprintPostgres(d.t, testenv.RestorePostgres(d.t, dump)))
}

// planted is a database with a bit of everything.
func planted(t testing.TB) *database {
	t.Helper()
	d := newDatabase(t)
	testenv.PlantPostgres(t, d.url.String())
	return d
}
