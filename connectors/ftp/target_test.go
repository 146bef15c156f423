package ftp_test

import (
	"testing"

	"xvault/connectors/connectortest"
)

func TestTargetSuite(t *testing.T) {
	t.Parallel()
	connectortest.RunTarget(t, func(t *testing.T, o connectortest.Options) *connectortest.Server {
		t.Helper()
		return served(t, "proftpd", o)
	})
}

func TestTargetSuiteOnOthers(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"vsftpd", "pure-ftpd"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			connectortest.RunTarget(t, func(t *testing.T, o connectortest.Options) *connectortest.Server {
				t.Helper()
				return served(t, kind, o)
			})
		})
	}
}
