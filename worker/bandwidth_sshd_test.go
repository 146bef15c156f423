package worker

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"xvault/connectors"
	"xvault/connectors/sftp"
	"xvault/internal/bandwidth"
	"xvault/internal/job"
	"xvault/internal/secret"
	"xvault/internal/testenv"
)

// readLimited reads a file of that many bytes from a real server under a limit,
// and gives the time from the first byte of its content to the last.
func readLimited(t *testing.T, o sftp.Options, size int, limit int64) time.Duration {
	t.Helper()
	dir := testenv.Dir(t)
	if err := os.WriteFile(filepath.Join(dir, "file"), make([]byte, size), 0o644); err != nil {
		t.Fatal(err)
	}
	server := testenv.SSHD(t, testenv.SSHOptions{})
	raw, err := json.Marshal(server.Config(dir))
	if err != nil {
		t.Fatal(err)
	}
	kind := sftp.New(o)
	config, faults := kind.Validate(raw)
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	l, err := newLimits(bandwidth.Plan{}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := json.Marshal(bandwidth.Plan{LimitBPS: limit})
	if err != nil {
		t.Fatal(err)
	}
	claimed := &job.ClaimSource{ID: newID(), Bandwidth: plan}
	defer l.hold(claimed)()
	dial, err := l.dialer(connectors.NewDialer(connectors.DialerConfig{}), claimed)
	if err != nil {
		t.Fatal(err)
	}
	source, err := kind.Open(config, connectors.Env{
		Credential: job.Credential{Type: "private_key", PrivateKey: secret.New(server.ClientKeyPEM)}, Dial: dial,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := source.Close(); err != nil {
			t.Error(err)
		}
	}()
	return timeContent(t.Context(), t, source, size)
}

func timeContent(ctx context.Context, t *testing.T, source connectors.Source, size int) time.Duration {
	t.Helper()
	var took time.Duration
	err := source.Read(ctx, func(item connectors.Item) error {
		if item.Err != nil {
			return item.Err
		}
		if item.Body == nil {
			return nil
		}
		begin := time.Now()
		n, err := io.Copy(io.Discard, item.Body)
		took = time.Since(begin)
		if n != int64(size) {
			t.Errorf("%d bytes of %d came", n, size)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return took
}

// Whatever the connector does to be fast, over how many channels and connections,
// the limit holds. A busy machine may well be slower.
func TestLimitHoldsOverARealServer(t *testing.T) {
	t.Parallel()
	const limit = 4e6
	took := readLimited(t, sftp.Options{}, 3*limit, limit)
	if rate := 3 * limit / took.Seconds(); rate < 0.6*limit || rate > 1.1*limit {
		t.Errorf("%.0f bytes a second under a limit of %.0f", rate, limit)
	}
}

// A server that is slow because of the limit is neither silent nor stalled.
func TestLimitedServerIsNotTakenForDead(t *testing.T) {
	t.Parallel()
	o := sftp.Options{KeepAlive: 200 * time.Millisecond, StallAfter: 400 * time.Millisecond}
	readLimited(t, o, 200e3, 50e3)
}
