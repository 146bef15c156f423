package ssh_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"xvault/connectors"
	"xvault/connectors/sftp"
	"xvault/connectors/ssh"
	"xvault/internal/testenv"
)

// BenchmarkFar reads 3,000 files of 4 KiB over a line with a round trip of 20 ms.
func BenchmarkFar(b *testing.B) {
	s := testenv.SSHD(b, testenv.SSHOptions{})
	for i := range 3000 {
		dir := filepath.Join(s.Root, fmt.Sprint(i%30))
		if err := os.MkdirAll(dir, 0o750); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), make([]byte, 4096), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	for _, kind := range []connectors.Type{ssh.New(sftp.Options{}), sftp.New(sftp.Options{})} {
		b.Run(kind.Name, func(b *testing.B) {
			link := testenv.SlowLink(b, s.Addr(), 10*time.Millisecond)
			raw, err := json.Marshal(link.Config(s, s.Root))
			if err != nil {
				b.Fatal(err)
			}
			config, _ := kind.Validate(raw)
			for b.Loop() {
				src, err := kind.Open(config, connectors.Env{Credential: keyOf(s), Dial: connectors.NewDialer(connectors.DialerConfig{})})
				if err != nil {
					b.Fatal(err)
				}
				begin, n := time.Now(), 0
				if err := src.Read(b.Context(), func(connectors.Item) error {
					if n++; n == 1 {
						b.ReportMetric(float64(time.Since(begin).Milliseconds()), "first-ms")
					}
					return nil
				}); err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(time.Since(begin).Milliseconds()), "all-ms")
				if err := src.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
