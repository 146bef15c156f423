//go:build long

package postgres_test

import (
	"testing"

	"xvault/connectors/connectortest"
)

func TestSuiteLeftOut(t *testing.T) {
	t.Parallel()
	for way, names := range leftOut {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			connectortest.RunSome(t, func(t *testing.T, o connectortest.Options) *connectortest.Server {
				t.Helper()
				return served(t, way, o)
			}, names...)
		})
	}
}

func TestRestoresThroughATunnel(t *testing.T) {
	t.Parallel()
	connectortest.RunRestores(t, func(t *testing.T, o connectortest.Options) *connectortest.Server {
		t.Helper()
		return served(t, "tunnel", o)
	})
}
