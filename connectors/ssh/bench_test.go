package ssh_test

import (
	"encoding/json"
	"io"
	"os"
	"syscall"
	"testing"
	"time"

	"xvault/connectors"
	"xvault/connectors/sftp"
	"xvault/connectors/ssh"
	"xvault/internal/testenv"
)

// benchTree is read where BENCH_TREE names no other.
const benchTree = "/usr/local/go/src"

// BenchmarkRead reads a tree of this machine over loopback and throws it away. The
// processor's time is that of the reading side alone.
func BenchmarkRead(b *testing.B) {
	path := os.Getenv("BENCH_TREE")
	if path == "" {
		path = benchTree
	}
	for _, kind := range []connectors.Type{ssh.New(sftp.Options{}), sftp.New(sftp.Options{})} {
		b.Run(kind.Name, func(b *testing.B) {
			s := testenv.SSHD(b, testenv.SSHOptions{})
			read(b, kind, s, path)
			before := cpu(b)
			var entries, bytes int64
			for b.Loop() {
				entries, bytes = read(b, kind, s, path)
			}
			b.ReportMetric(float64(cpu(b)-before)/float64(b.N)/1e6, "cpu-ms/op")
			b.ReportMetric(float64(entries), "entries")
			b.SetBytes(bytes)
		})
	}
}

func read(b *testing.B, kind connectors.Type, s *testenv.SSHServer, path string) (entries, bytes int64) {
	b.Helper()
	raw, err := json.Marshal(s.Config(path))
	if err != nil {
		b.Fatal(err)
	}
	config, faults := kind.Validate(raw)
	if len(faults) > 0 {
		b.Fatal(faults)
	}
	src, err := kind.Open(config, connectors.Env{Credential: keyOf(s), Dial: connectors.NewDialer(connectors.DialerConfig{})})
	if err != nil {
		b.Fatal(err)
	}
	err = src.Read(b.Context(), func(item connectors.Item) error {
		entries++
		if item.Body == nil {
			return nil
		}
		n, err := io.Copy(io.Discard, item.Body)
		bytes += n
		return err
	})
	if err == nil {
		err = src.Close()
	}
	if err != nil {
		b.Fatal(err)
	}
	return entries, bytes
}

// cpu is the processor's time that this process took.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
