package sshconn

import (
	"testing"

	"xvault/internal/job"
	"xvault/internal/testenv"
)

// A command counts as run only where the server runs what it is told to.
func TestRun(t *testing.T) {
	t.Parallel()
	const picky = `ForceCommand case "$SSH_ORIGINAL_COMMAND" in "echo yes") echo yes ;; *) echo no; exit 1 ;; esac`
	for what, c := range map[string]struct {
		extra   []string
		command string
		said    string
		code    job.Code // "": none
	}{
		"a shell":                   {command: "echo yes", said: "yes"},
		"a shell, a failure":        {command: "echo no; exit 3", said: "no", code: job.DumpFailed},
		"only files, and says so":   {extra: []string{"ForceCommand internal-sftp"}, command: "echo yes", code: job.DumpFailed},
		"only files, and is silent": {extra: []string{"ForceCommand /usr/lib/openssh/sftp-server -R"}, command: "echo yes", code: job.PermissionDenied},
		"only this command":         {extra: []string{picky}, command: "echo yes", said: "yes"},
		"only another one":          {extra: []string{picky}, command: "echo yes and no", said: "no", code: job.DumpFailed},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			conn := connected(t, configOf(t, testenv.SSHD(t, testenv.SSHOptions{Extra: c.extra}), nil))
			said, err := conn.Run(t.Context(), c.command)
			if c.said != "" && said != c.said {
				t.Errorf("it said %q, want %q", said, c.said)
			}
			if (err != nil) != (c.code != "") || err != nil && job.CodeOf(err) != c.code {
				t.Errorf("%v, want %q", err, c.code)
			}
		})
	}
}
