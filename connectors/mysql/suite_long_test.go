//go:build long

package mysql

import (
	"testing"

	"xvault/connectors/connectortest"
)

func TestSuiteLeftOut(t *testing.T) {
	t.Parallel()
	connectortest.RunDatabaseLeftOut(t, served)
}

func TestRestoresThroughATunnel(t *testing.T) {
	t.Parallel()
	connectortest.RunDatabaseRestores(t, served, "tunnel")
}
