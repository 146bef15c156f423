package cmd

import (
	"bytes"
	"strings"
	"testing"
)

func TestVersion(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"version"}, {"--version"}} {
		root := NewRoot()
		var out bytes.Buffer
		root.SetOut(&out)
		root.SetArgs(args)
		if err := root.ExecuteContext(t.Context()); err != nil || out.String() != versionLine() || !strings.HasPrefix(out.String(), "xvault "+buildVersion()+" ") {
			t.Errorf("%v: %v, %q", args, err, out.String())
		}
	}
}
