package ssh_test

import (
	"testing"
	"time"

	"xvault/connectors/connectortest"
	"xvault/connectors/sftp"
	"xvault/connectors/ssh"
	"xvault/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

func TestSuite(t *testing.T) {
	t.Parallel()
	quick := sftp.Options{HandshakeTimeout: 10 * time.Second, KeepAlive: time.Second, StallAfter: 10 * time.Second}
	connectortest.Run(t, func(t *testing.T, o connectortest.Options) *connectortest.Server {
		t.Helper()
		return connectortest.OverSSH(t, o, ssh.New(quick), 10*time.Second)
	})
}
