package sshexec

import (
	"context"
	"errors"
	"io"
	"path"
	"strings"
	"time"

	"xvault/connectors/dumptool"
	"xvault/connectors/sshconn"
	"xvault/internal/job"
)

// maxAnswer bounds what a program may answer that is asked for something.
const maxAnswer = 64 << 20

// Ask runs a program to its end and gives all that it printed.
func Ask(ctx context.Context, conn *sshconn.Conn, c Command) ([]byte, error) {
	o, err := Start(ctx, conn, c)
	if err != nil {
		return nil, err
	}
	answer, err := io.ReadAll(io.LimitReader(o, maxAnswer+1))
	if err == nil && len(answer) > maxAnswer {
		err = job.Errorf(job.DumpFailed, "%s failed: the answer has more than %d bytes", c.What, maxAnswer)
	}
	if err != nil {
		_ = o.Close() // the reason counts
		return nil, err
	}
	return answer, o.Close()
}

// search prints, for each file of a name that answers to --version, its path and the
// first line of that answer. It is given the name, and folders, which may be patterns.
const search = `n=$1; shift; IFS=; for d in "$@"; do for p in $d/$n; do [ -f "$p" ] && [ -x "$p" ] && v=$("$p" --version 2>/dev/null) && printf "%s\n%s\n" "$p" "${v%%
*}"; done; done; p=$(command -v "$n") && v=$("$p" --version 2>/dev/null) && printf "%s\n%s\n" "$p" "${v%%
*}"; :`

// maxPrograms bounds what one search finds.
const maxPrograms = 100

// findPatience is how long one program may take to tell its version.
const findPatience = time.Minute

// Find looks for a program as dumptool.Find does, and where the account's own shell
// would find it.
func Find(ctx context.Context, conn *sshconn.Conn, name string, folders ...string) ([]dumptool.Program, error) {
	said, err := Ask(ctx, conn, Command{
		Program: "/bin/sh", Args: append([]string{"-c", search, "sh", name}, folders...), What: "the search for " + name + " on the ssh host", Patience: findPatience,
	})
	if err != nil {
		return nil, err
	}
	lines := strings.Split(string(said), "\n")
	if len(lines) > 2*maxPrograms {
		return nil, errors.New("the ssh host names more programs than there can be")
	}
	var found []dumptool.Program
	for i := 0; i+1 < len(lines); i += 2 {
		if path.IsAbs(lines[i]) {
			found = append(found, dumptool.Program{Path: lines[i], Banner: lines[i+1]})
		}
	}
	return found, nil
}
