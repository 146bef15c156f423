//go:build long

package ftp_test

import (
	"testing"

	"xvault/connectors/connectortest"
)

func TestManyNames(t *testing.T) {
	t.Parallel()
	connectortest.RunSome(t, func(t *testing.T, o connectortest.Options) *connectortest.Server {
		t.Helper()
		return served(t, "proftpd", o)
	}, "ManyNamesInOneFolder")
}

func TestWholeSuiteOnOthers(t *testing.T) {
	t.Parallel()
	for kind, extra := range map[string][]string{"vsftpd": nil, "pure-ftpd": {"-L", "100000:100"}} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			connectortest.Run(t, func(t *testing.T, o connectortest.Options) *connectortest.Server {
				t.Helper()
				return served(t, kind, o, extra...)
			})
		})
	}
}

func TestWholeTargetSuiteOnOthers(t *testing.T) {
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
