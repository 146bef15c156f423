package ftp_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"xvault/connectors/connectortest"
	"xvault/connectors/ftp"
	"xvault/internal/entry"
	"xvault/internal/job"
	"xvault/internal/secret"
	"xvault/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// quick makes a server's silence show within seconds.
var quick = ftp.Options{Patience: 5 * time.Second}

// served is a server for the suites.
func served(t *testing.T, kind string, o connectortest.Options, extra ...string) *connectortest.Server {
	t.Helper()
	s := testenv.FTPD(t, testenv.FTPOptions{Kind: kind, Root: !o.Unprivileged && os.Getuid() == 0, Extra: extra})
	return &connectortest.Server{
		Type: ftp.New(quick), Patience: quick.Patience, Root: s.Root, Addr: s.Addr(),
		Config: func(host string, port int, paths ...string) map[string]any {
			c := s.Config(paths...)
			c["host"], c["port"] = host, port
			return c
		},
		Credential: s.Credential(), WrongCredential: job.Credential{Type: "password", Password: secret.New("another")},
		Stop: s.Kill, Unprivileged: !s.Privileged(),
		NoLineBreaks: true, MaxPath: 1000, CoarseTimes: []entry.Kind{entry.Symlink}, UntoldTargets: []string{"..", strings.Repeat("t", 2000)}, HiddenTargets: []string{"loop-b"},
	}
}

func TestSuite(t *testing.T) {
	t.Parallel()
	connectortest.Run(t, func(t *testing.T, o connectortest.Options) *connectortest.Server {
		t.Helper()
		return served(t, "proftpd", o)
	})
}
