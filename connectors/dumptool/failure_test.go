package dumptool_test

import (
	"testing"

	"xvault/connectors/dumptool"
)

// Only a program's own word counts as its failure.
func TestFailed(t *testing.T) {
	t.Parallel()
	for script, want := range map[string]bool{"exit 3": true, "kill -9 $$": false, "exit 0": false} {
		_, err := dumptool.Run(t.Context(), dumptool.Command{Path: "/bin/sh", Args: []string{"-c", script}, What: "a script"})
		if dumptool.Failed(err) != want {
			t.Errorf("%q: %v", script, err)
		}
	}
	if _, err := dumptool.Run(t.Context(), dumptool.Command{Path: "/nonexistent/program", What: "a program"}); err == nil || dumptool.Failed(err) {
		t.Errorf("what is not there: %v", err)
	}
}
