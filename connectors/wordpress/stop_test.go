package wordpress

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"xvault/connectors"
	"xvault/internal/job"
	"xvault/internal/testenv"
)

// midway reads a site whose dump does not fit into memory, and calls do in the middle of
// the member.
func (l *lab) midway(ctx context.Context, s connectors.Source, member string, do func() error) error {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var last string
	came := false
	err := s.Read(ctx, func(item connectors.Item) error {
		if last = item.Path; item.Body == nil {
			return nil
		}
		if strings.HasSuffix(item.Path, member) {
			if _, err := io.CopyN(io.Discard, item.Body, 300_000); err != nil {
				return err
			}
			came = true
			if err := do(); err != nil {
				return err
			}
		}
		_, err := io.Copy(io.Discard, item.Body)
		return err
	})
	if !came || err == nil || last == aboutName || last == configName {
		l.t.Errorf("%s: came so far %v, %v, the last member is %q", member, came, err, last)
	}
	return err
}

// newHalves is a site of which much is still on its way when a read is disturbed.
func newHalves(t *testing.T) *lab {
	t.Helper()
	l := newLab(t)
	l.options.Held = 1
	l.db.Do(l.name, "CREATE TABLE zz_big (id INT PRIMARY KEY, t TEXT)", "INSERT INTO zz_big SELECT seq, REPEAT(MD5(seq), 50) FROM seq_1_to_4000")
	l.write("site/wp-content/uploads/film", strings.Repeat("0123456789abcdef", 300_000))
	return l
}

// F8: nothing comes any more of the dump, which is the last to be read, while the
// connections stay. The patience is that of a test.
func TestConnectionStalls(t *testing.T) {
	t.Parallel()
	l := newHalves(t)
	l.options.SSH.KeepAlive, l.options.MySQL.Tunnel.KeepAlive = time.Second, time.Second
	address := fmt.Sprintf("%v:%v", l.config["host"], l.config["port"])
	link := testenv.SlowLink(t, address, 0)
	l.config["host"], l.config["port"] = link.Host, link.Port
	err := l.midway(t.Context(), l.source(), ".sql", func() error { link.Stall(); return nil })
	if job.CodeOf(err) != job.ConnectFailed || !strings.Contains(err.Error(), "silent for 3s") {
		t.Error(err)
	}
}

// A read that is canceled in the dump, or whose source is closed, ends with that, and
// nothing of it stays at the server.
func TestReadIsEnded(t *testing.T) {
	t.Parallel()
	l := newHalves(t)
	canceled := errors.New("canceled by its owner")
	ctx, cancel := context.WithCancelCause(t.Context())
	if err := l.midway(ctx, l.source(), ".sql", func() error { cancel(canceled); return nil }); !errors.Is(err, canceled) {
		t.Errorf("canceled: %v", err)
	}
	s := l.source()
	_ = l.midway(t.Context(), s, ".sql", s.Close) // which checks that it fails
	testenv.Eventually(t, 2*time.Minute, func() bool {
		return len(l.db.Query("", "SELECT id FROM information_schema.processlist WHERE user = '"+l.account+"'")) == 0
	}, "sessions are left at the server")
}
