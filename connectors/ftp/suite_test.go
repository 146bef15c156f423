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

// unhurried waits for pure-ftpd, which lets those wait who do not know the password.
var unhurried = ftp.Options{Patience: 30 * time.Second}

// served is a server for the suites, with what it cannot do.
func served(t *testing.T, kind string, o connectortest.Options, extra ...string) *connectortest.Server {
	t.Helper()
	s := testenv.FTPD(t, testenv.FTPOptions{Kind: kind, Root: !o.Unprivileged && os.Getuid() == 0, Extra: extra})
	options := quick
	if kind == "pure-ftpd" {
		options = unhurried
	}
	server := &connectortest.Server{
		Type: ftp.New(options), Patience: options.Patience, Root: s.Root, Addr: s.Addr(),
		Config: func(host string, port int, paths ...string) map[string]any {
			c := s.Config(paths...)
			c["host"], c["port"] = host, port
			return c
		},
		Credential: s.Credential(), WrongCredential: job.Credential{Type: "password", Password: secret.New("another")},
		Stop: s.Kill, Kills: []connectortest.Kill{{What: "the server", Do: s.Kill, Again: s.Start}}, Unprivileged: !s.Privileged(),
		RefusedName: func(name string) bool { return strings.ContainsAny(name, "\r\n") },
	}
	server.CannotWrite = connectortest.CannotWrite{Links: true, Owners: true}
	if kind != "proftpd" && !o.Unprivileged {
		server.Own, server.CannotWrite.Owners = s.Own, false
	}
	switch kind {
	case "proftpd":
		// It makes no folder with a star in its name.
		server.CannotWrite.Path = func(path string) bool { return strings.Contains(path, "/dirs/star*") }
		// It shows links that lead nowhere in LIST alone, cuts their targets, and hides
		// a few for reasons of its own.
		server.CoarseTimes, server.CoarseFrom = []entry.Kind{entry.Symlink}, 1700
		server.UntoldTargets, server.HiddenTargets = []string{"..", strings.Repeat("t", 2000)}, []string{"loop-b"}
	case "vsftpd":
		server.CannotWrite.Modes, server.CannotWrite.FolderTimes = true, true
		server.CoarseTimes = []entry.Kind{entry.Symlink, entry.Dir, entry.FIFO, entry.Socket}
	case "pure-ftpd":
		server.CannotWrite.Path = func(path string) bool { return strings.Contains(path, "/names/") && strings.HasSuffix(path, " ") }
		server.CoarseTimes, server.SpecialsAlike = []entry.Kind{entry.Symlink}, true
		server.RefusedName = func(name string) bool { return strings.Contains(name, `\`) }
		server.HiddenName = func(name string) bool {
			return strings.ContainsFunc(name, func(r rune) bool { return r < ' ' })
		}
	}
	return server
}

// The suite against ProFTPD; the parts in which servers differ against the others.
func TestSuite(t *testing.T) {
	t.Parallel()
	connectortest.RunBut(t, func(t *testing.T, o connectortest.Options) *connectortest.Server {
		t.Helper()
		return served(t, "proftpd", o)
	}, "ManyNamesInOneFolder") // see TestTenThousandNames; with the tag long it runs too
}

func TestSuiteOnOthers(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"vsftpd", "pure-ftpd"} { // TestLogins tries what CredentialIsWrong does
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			connectortest.RunSome(t, func(t *testing.T, o connectortest.Options) *connectortest.Server {
				t.Helper()
				return served(t, kind, o)
			}, "ReadsAnAwkwardTree", "ReadsSeveralPaths", "FollowsAPathThatIsALink", "ReportsWhatItCannotRead", "SmallFilesChange", "LargeFileGrows",
				"LargeFileShrinks", "DirectoryBecomesLink", "PathIsMissing", "ConnectionIsCut")
		})
	}
}
