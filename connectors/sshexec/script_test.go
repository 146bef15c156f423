package sshexec

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// local runs the command without SSH, in one shell all through.
func local(ctx context.Context, t *testing.T, shell []string, c Command) (cmd *exec.Cmd, leash io.WriteCloser, out *bufio.Reader, said *bytes.Buffer) {
	t.Helper()
	text := strings.ReplaceAll(command, "/bin/sh", strings.Join(shell, " "))
	cmd = exec.CommandContext(ctx, shell[0], append(shell[1:], "-c", text)...)
	said = &bytes.Buffer{}
	cmd.Stderr = said
	leash, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	preamble, err := c.preamble("marker")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(leash, preamble); err != nil {
		t.Fatal(err)
	}
	out = bufio.NewReader(stdout)
	for range 2 {
		line, err := out.ReadString('\n')
		if err != nil || line != "\n" && line != "marker\n" {
			t.Fatalf("%v: %q, %v: %s", shell, line, err, said)
		}
	}
	return cmd, leash, out, said
}

// The command is read by whatever shell is /bin/sh: the program gets its input and its
// words, its status comes through, and it ends with the channel.
func TestScriptInEveryShell(t *testing.T) {
	t.Parallel()
	words := awkward()
	for _, shell := range shells(t) {
		t.Run(strings.Join(shell, " "), func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			input := strings.Join(words, "\x00")
			cmd, leash, out, said := local(ctx, t, shell, Command{Program: "sh", Args: append([]string{"-c", `cat; printf '%s\0' "$@"; exit 3`, "sh"}, words...), Input: []byte(input)})
			got, err := io.ReadAll(out)
			if want := input + input + "\x00"; err != nil || string(got) != want {
				t.Errorf("%v: %d bytes, want %d: %s", err, len(got), len(want), said)
			}
			ended, ok := errors.AsType[*exec.ExitError](cmd.Wait())
			if !ok || ended.ExitCode() != 3 || said.String() != "\nmarker\n" {
				t.Errorf("ended with %v, and said %q", ended, said)
			}
			_ = leash.Close()

			cmd, leash, out, _ = local(ctx, t, shell, Command{Program: "sleep", Args: []string{"600"}})
			if err := leash.Close(); err != nil {
				t.Error(err)
			}
			if _, err := io.ReadAll(out); err != nil { // the program has let go of it
				t.Error(err)
			}
			if err := cmd.Wait(); err == nil || ctx.Err() != nil {
				t.Errorf("the program was not ended: %v, %v", err, context.Cause(ctx))
			}
		})
	}
}

// csh and fish read the command as a Bourne shell does.
func TestScriptIsPlain(t *testing.T) {
	t.Parallel()
	body, ok := strings.CutPrefix(command, "exec /bin/sh -c '")
	body, closed := strings.CutSuffix(body, "'")
	if !ok || !closed || strings.ContainsAny(body, "'!\n") || strings.Contains(body, `\\`) || strings.Contains(script, "\n") {
		t.Errorf("the command holds what not every shell takes as it is: %s", command)
	}
}
