//go:build long

package ssh_test

import (
	"testing"
	"time"

	"xvault/connectors/connectortest"
	"xvault/connectors/ssh"
	"xvault/internal/testenv"
)

// What an ssh source is written to by is the code of sftp, which passes the suite
// every time.
func TestTargetSuite(t *testing.T) {
	t.Parallel()
	connectortest.RunTarget(t, func(t *testing.T, o connectortest.Options) *connectortest.Server {
		t.Helper()
		s := connectortest.OverSSH(t, testenv.SSHOptions{}, o, ssh.New(quick), 10*time.Second)
		s.HardLinks = true
		return s
	})
}

func TestWholeSuiteOverSFTP(t *testing.T) {
	t.Parallel()
	connectortest.Run(t, overSFTP)
}
