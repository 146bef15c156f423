package wordpress

import (
	"strings"
	"testing"

	"xvault/internal/job"
	"xvault/internal/testenv"
)

// run runs a command of hooks, as a worker does.
func (l *lab) run(command string) (string, error) {
	l.t.Helper()
	config, faults := Validate(l.raw())
	if len(faults) > 0 {
		l.t.Fatalf("%s: %v", l.raw(), faults)
	}
	return New(l.options).Run(l.t.Context(), config, l.env, command)
}

// Hooks run on the site's machine, as the user that logs in there; a login that is
// confined to reading runs none.
func TestHooks(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.config["hooks"] = map[string]any{"before": "true"}
	l.config["exclude"] = []string{"*.log"}
	delete(l.config, "host_keys")
	l.config["trust_on_first_use"] = true
	said, err := l.run("cd '" + l.root + "' && ls wp-load.php")
	if err != nil || said != "wp-load.php" || len(l.pinned) != 1 {
		t.Errorf("%q, %v, pinned %q", said, err, l.pinned)
	}
	if _, err = l.run("echo out of order; exit 3"); job.CodeOf(err) != job.DumpFailed || !strings.Contains(err.Error(), "out of order") {
		t.Errorf("a command that fails: %v", err)
	}
	if members, _, err := l.read(nil); err != nil || members["files/wp-load.php"] == "" {
		t.Errorf("a site with hooks is not read: %v", err)
	}
	l = newLabOn(t, testenv.MariaDB(t), testenv.SSHOptions{Extra: []string{"ForceCommand internal-sftp -R"}})
	if said, err := l.run("true"); job.CodeOf(err) != job.DumpFailed {
		t.Errorf("a login for reading alone: %q, %v", said, err)
	}
}
