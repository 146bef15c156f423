package ssh_test

import (
	"testing"
	"time"

	"xvault/connectors/connectortest"
	"xvault/connectors/sftp"
	"xvault/connectors/ssh"
	"xvault/internal/job"
	"xvault/internal/secret"
	"xvault/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// quick makes a server's silence show within seconds, calm bears that of a busy machine.
var (
	quick = sftp.Options{HandshakeTimeout: 10 * time.Second, KeepAlive: time.Second, StallAfter: 10 * time.Second}
	calm  = sftp.Options{HandshakeTimeout: time.Minute, KeepAlive: 10 * time.Second, StallAfter: 10 * time.Second}
)

func TestSuiteThroughTheShell(t *testing.T) {
	t.Parallel()
	connectortest.Run(t, func(t *testing.T, o connectortest.Options) *connectortest.Server {
		t.Helper()
		s := connectortest.OverSSH(t, testenv.SSHOptions{}, o, ssh.New(quick), 10*time.Second)
		s.HardLinks = true
		return s
	})
}

// Where the server runs nothing but SFTP, that is what is used. It is the code that the
// type sftp passes the whole suite with; with the tag long this one does too.
func TestSuiteOverSFTP(t *testing.T) {
	t.Parallel()
	connectortest.RunSome(t, overSFTP, "ReadsAnAwkwardTree", "ReportsWhatItCannotRead", "SmallFilesChange", "LargeFileGrows", "LargeFileShrinks",
		"DirectoryBecomesLink", "ConnectionIsCut", "PathIsMissing", "CredentialIsWrong", "ProbeTellsOfPaths")
}

func overSFTP(t *testing.T, o connectortest.Options) *connectortest.Server {
	t.Helper()
	return connectortest.OverSSH(t, onlySFTP, o, ssh.New(quick), 10*time.Second)
}

var onlySFTP = testenv.SSHOptions{Extra: []string{"ForceCommand internal-sftp"}}

func keyOf(s *testenv.SSHServer) job.Credential {
	return job.Credential{Type: "private_key", PrivateKey: secret.New(s.ClientKeyPEM)}
}
