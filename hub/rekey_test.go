package hub_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"xvault/archive/seal"
	"xvault/hub"
	"xvault/internal/job"
	"xvault/internal/secret"
	"xvault/store/catalog"
)

const rekeyChild = "XVAULT_TEST_REKEY_CHILD"

// TestRekeyChild is the process that is killed; it does nothing in a usual run.
func TestRekeyChild(t *testing.T) {
	if os.Getenv(rekeyChild) == "" {
		return
	}
	parent := bufio.NewReader(os.Stdin)
	_, err := hub.Rekey(context.Background(), hub.RekeyConfig{
		DatabaseURL: secret.New(os.Getenv("DATABASE_URL")), EncryptionKEK: secret.New(os.Getenv("HUB_ENCRYPTION_KEK")), Batch: 2,
		// The parent lets it go on: a slow one would kill what has long been done.
		Progress: func(_ string, done, left int64) {
			say("batch %d %d\n", done, left)
			if _, err := parent.ReadByte(); err != nil {
				panic(err) // the parent is gone
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	say("done\n")
}

// say speaks to the parent.
func say(format string, args ...any) {
	_, _ = fmt.Fprintf(os.Stdout, format, args...)
}

// killedRekey runs a rekey in a process of its own and kills it after the
// given number of batches; it reports whether it was killed before its end.
func (l *lab) killedRekey(setting string, batches int) bool {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	child := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestRekeyChild$", "-test.v")
	child.Env = append(os.Environ(), rekeyChild+"=1", "DATABASE_URL="+l.db, "HUB_ENCRYPTION_KEK="+setting)
	out, err := child.StdoutPipe()
	if err != nil {
		l.t.Fatal(err)
	}
	goOn, err := child.StdinPipe()
	if err != nil {
		l.t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		l.t.Fatal(err)
	}
	ended := false
	for lines := bufio.NewScanner(out); lines.Scan(); {
		ended = ended || lines.Text() == "done"
		if strings.HasPrefix(lines.Text(), "batch ") {
			if _, err := goOn.Write([]byte{'\n'}); err != nil && batches > 0 {
				l.t.Fatal(err)
			}
			if batches--; batches == 0 {
				// The next batch may have begun: it is killed in its middle.
				if err := child.Process.Signal(syscall.SIGKILL); err != nil && !errors.Is(err, os.ErrProcessDone) {
					l.t.Fatal(err)
				}
			}
		}
	}
	// A kill that comes with the last batch may find it done already.
	if err := child.Wait(); err == nil && !ended {
		l.t.Fatal("the child ended well and was not done")
	}
	return !ended
}

// secrets are what must open, by what they belong to.
type secrets struct {
	mu         sync.Mutex
	identities map[string]string // tenant: age identity
	passwords  map[string]string // credential: password
}

// mustOpen proves that each secret opens: through every hub, and as rows under
// the setting.
func (s *secrets) mustOpen(t *testing.T, setting string, hubs ...*lab) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range hubs {
		for tenant, identity := range s.identities {
			var kit object
			l.must(200, operatorKey, "POST", "/api/v1/tenants/"+tenant+"/export-key", nil, &kit)
			if kit["identity"] != identity {
				t.Errorf("tenant %s has another identity", tenant)
			}
		}
	}
	passwords := hubs[0].passwords(setting)
	for credential, password := range s.passwords {
		if passwords[credential] != password {
			t.Errorf("credential %s opens to %q, not %q", credential, passwords[credential], password)
		}
	}
}

// passwords opens every credential of the catalog.
func (l *lab) passwords(setting string) map[string]string {
	l.t.Helper()
	ctx := context.Background()
	db, err := catalog.Open(ctx, catalog.Config{URL: secret.New(l.db), MaxConns: 2})
	if err != nil {
		l.t.Fatal(err)
	}
	defer db.Close()
	keks, err := seal.ParseKEKs(secret.New(setting))
	if err != nil {
		l.t.Fatal(err)
	}
	ring, err := db.Keyring(ctx, keks)
	if err != nil {
		l.t.Fatal(err)
	}
	conn, err := pgx.Connect(ctx, l.db)
	if err != nil {
		l.t.Fatal(err)
	}
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, `SELECT id, tenant_id, ciphertext, key_id FROM credentials`)
	if err != nil {
		l.t.Fatal(err)
	}
	found := map[string]string{}
	var id, tenant uuid.UUID
	var ciphertext []byte
	var keyID string
	_, err = pgx.ForEachRow(rows, []any{&id, &tenant, &ciphertext, &keyID}, func() error {
		plaintext, err := ring.Open(ciphertext, keyID, catalog.CredentialAD(tenant, id))
		if err != nil {
			return fmt.Errorf("credential %s: %w", id, err)
		}
		c, err := job.DecodeCredential(plaintext)
		found[id.String()] = c.Password.Reveal()
		return err
	})
	if err != nil {
		l.t.Error(err)
	}
	return found
}

// F19: a rekey is killed again and again, with a hub of the old setting and one
// of the new one serving and people changing secrets on both; every secret
// opens before, during and after.
func TestRekeyKilledHalfWay(t *testing.T) {
	t.Parallel()
	oldOnly, oldFirst, newFirst := kek("old"), kek("old")+","+kek("new"), kek("new")+","+kek("old")
	with := func(kek string) func(*hub.Config) { return func(c *hub.Config) { c.EncryptionKEK = secret.New(kek) } }
	l := start(t, with(oldOnly))
	all := &secrets{identities: map[string]string{}, passwords: map[string]string{}}
	tenant, key := "", ""
	for i := range 8 {
		tenant, key = l.tenant(fmt.Sprint("tenant ", i))
		var kit object
		l.must(200, operatorKey, "POST", "/api/v1/tenants/"+tenant+"/export-key", nil, &kit)
		all.identities[tenant] = kit.text("identity")
		for range 4 {
			password := fmt.Sprint("password ", len(all.passwords))
			all.passwords[l.credential(key, tenant, password)] = password
		}
	}
	all.mustOpen(t, oldOnly, l)
	l.stop()
	oldHub, newHub := l.another(with(oldFirst)), l.another(with(newFirst))
	all.mustOpen(t, oldFirst, oldHub, newHub)

	// People replace secrets on both hubs all the while.
	ctx, stopPeople := context.WithCancel(context.Background())
	var people sync.WaitGroup
	var changes atomic.Int64
	for n, h := range []*lab{oldHub, newHub} {
		mine := h.credential(key, tenant, "first")
		people.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				password := fmt.Sprintf("person %d's password %d", n, i)
				all.mu.Lock()
				r, err := h.try(key, "PUT", "/api/v1/credentials/"+mine+"/secret", object{"type": "password", "password": password})
				if err != nil || r.status != 200 {
					t.Errorf("replace: %v %d %s", err, r.status, r.body)
				}
				all.passwords[mine] = password
				all.mu.Unlock()
				changes.Add(1)
			}
		})
	}
	kills := 0
	for batches := 1; ; batches++ {
		killed := l.killedRekey(newFirst, batches)
		all.mustOpen(t, oldFirst, oldHub, newHub)
		if !killed {
			break
		}
		kills++
	}
	stopPeople()
	people.Wait()
	if kills < 3 || changes.Load() < 10 {
		t.Errorf("only %d kills and %d changes: nothing was proved", kills, changes.Load())
	}
	oldHub.stop()
	report, err := hub.Rekey(context.Background(), hub.RekeyConfig{DatabaseURL: secret.New(l.db), EncryptionKEK: secret.New(newFirst)})
	if err != nil || report.Left != 0 || report.KeyID != "new" {
		t.Errorf("the last rekey: %+v %v", report, err)
	}
	all.mustOpen(t, kek("new"), newHub)
	newHub.stop()
	last := l.another(with(kek("new")))
	all.mustOpen(t, kek("new"), last)
	if err := l.refusal(with(oldOnly)); !strings.Contains(err.Error(), `"new"`) {
		t.Errorf("a hub with the old key alone: %v", err)
	}
	t.Logf("%d kills, %d secrets replaced meanwhile", kills, changes.Load())
}

// A dropped key that secrets still need is found out at start, by name and
// number, not when the first backup fails.
func TestRekeyReportsAndResumes(t *testing.T) {
	t.Parallel()
	l := start(t, func(c *hub.Config) { c.EncryptionKEK = secret.New(kek("old")) })
	tenant, key := l.tenant("one")
	for range 9 {
		l.credential(key, tenant, "pw")
	}
	l.stop()
	err := l.refusal(func(c *hub.Config) { c.EncryptionKEK = secret.New(kek("new")) })
	if !strings.Contains(err.Error(), `"old" (11 secrets)`) {
		t.Errorf("%v", err)
	}
	cfg := hub.RekeyConfig{DatabaseURL: secret.New(l.db), EncryptionKEK: secret.New(kek("new") + "," + kek("old")), Batch: 4}
	ctx, cancel := context.WithCancel(context.Background())
	cfg.Progress = func(string, int64, int64) { cancel() }
	if report, err := hub.Rekey(ctx, cfg); err == nil || report.Rewrapped == 0 {
		t.Errorf("cut off: %+v %v", report, err)
	}
	cfg.Progress = nil
	report, err := hub.Rekey(context.Background(), cfg)
	if err != nil || report.Left != 0 {
		t.Errorf("resumed: %+v %v", report, err)
	}
	if again, err := hub.Rekey(context.Background(), cfg); err != nil || again.Rewrapped != 0 {
		t.Errorf("again: %+v %v", again, err)
	}
	if n := l.count(`SELECT sum((detail->>'secrets')::int) FROM audit_events WHERE action = 'encryption_key.rekey'`); n != 11 { // a tenant's key, nine credentials, and the hub's own that signs tickets
		t.Errorf("the trail tells of %d secrets", n)
	}
	if n := l.count(`SELECT count(*) FROM credentials WHERE updated_at <> created_at`); n != 0 {
		t.Errorf("%d credentials look changed", n)
	}
}

// What is under a passphrase moves to a random key.
func TestRekeyFromAPassphrase(t *testing.T) {
	t.Parallel()
	const phrase = "test-key-32-bytes-long!!!!!!"
	l := start(t, func(c *hub.Config) { c.EncryptionKEK = secret.New(phrase) })
	tenant, key := l.tenant("one")
	credential := l.credential(key, tenant, "pw")
	l.stop()
	report, err := hub.Rekey(context.Background(), hub.RekeyConfig{
		DatabaseURL: secret.New(l.db), EncryptionKEK: secret.New(kek("new") + ",passphrase:" + phrase),
	})
	if err != nil || report.Rewrapped != 3 {
		t.Fatalf("%+v %v", report, err)
	}
	if got := l.passwords(kek("new"))[credential]; got != "pw" {
		t.Errorf("opens to %q", got)
	}
}
