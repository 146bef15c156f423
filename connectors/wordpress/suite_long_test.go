//go:build long

package wordpress

import (
	"testing"

	"xvault/connectors/connectortest"
)

func TestSuiteOfFiles(t *testing.T) {
	t.Parallel()
	connectortest.RunSome(t, served, asSSH...)
}
