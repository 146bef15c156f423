package sftp_test

import (
	"testing"
	"time"

	"xvault/connectors/connectortest"
	"xvault/connectors/sftp"
	"xvault/internal/job"
	"xvault/internal/secret"
	"xvault/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// quick makes a server's silence show within seconds.
var quick = sftp.Options{HandshakeTimeout: 10 * time.Second, KeepAlive: time.Second, StallAfter: 10 * time.Second}

func TestSuite(t *testing.T) {
	t.Parallel()
	connectortest.Run(t, func(t *testing.T, o connectortest.Options) *connectortest.Server {
		t.Helper()
		return connectortest.OverSSH(t, testenv.SSHOptions{}, o, sftp.New(quick), 10*time.Second)
	})
}

func keyOf(s *testenv.SSHServer) job.Credential {
	return job.Credential{Type: "private_key", PrivateKey: secret.New(s.ClientKeyPEM)}
}

// On a server that can do no more than it must; what OpenSSH can do besides is
// tried with the type ssh.
func TestTargetSuite(t *testing.T) {
	t.Parallel()
	plain := testenv.SSHOptions{NoSFTP: true, Extra: []string{"Subsystem sftp internal-sftp -P posix-rename,hardlink,statvfs,fsync"}}
	connectortest.RunTarget(t, func(t *testing.T, o connectortest.Options) *connectortest.Server {
		t.Helper()
		return connectortest.OverSSH(t, plain, o, sftp.New(quick), 10*time.Second)
	})
}
