package sshexec

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"xvault/connectors"
	"xvault/connectors/sshconn"
	"xvault/internal/job"
	"xvault/internal/secret"
	"xvault/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// shells are those that read a line of Line, on one machine or another.
func shells(t *testing.T) [][]string {
	t.Helper()
	return [][]string{{"/bin/sh"}, {"dash"}, {"bash"}, {"bash", "--posix"}, {"busybox", "sh"}}
}

// awkward are words with every byte that there is, alone and among others.
func awkward() []string {
	words := []string{"", "-n", "--", "$(id)", "`id`", "a b", "'", "''", `'\''`, `\`, `\\`, "*", "?", "~", "#x", "!x", "$HOME", "${x}", "a;b", "a&b", "a|b", "<a", ">a", "\n", "a\n", "\r\n", "ü🎉", "%s%b", `\0101`, strings.Repeat("x", 9000)}
	every := make([]byte, 0, 255)
	for c := 1; c < 256; c++ {
		words = append(words, string([]byte{byte(c)}), string([]byte{'a', byte(c), 'b'}))
		every = append(every, byte(c))
	}
	return append(words, string(every))
}

func TestLineMeansItsWords(t *testing.T) {
	t.Parallel()
	words := awkward()
	line, err := Line(append([]string{"printf", `%s\0`}, words...)...)
	if err != nil {
		t.Fatal(err)
	}
	for _, shell := range shells(t) {
		for how, run := range map[string]*exec.Cmd{
			"as it is": exec.Command(shell[0], append(shell[1:], "-c", line)...),
			"encoded":  exec.Command(shell[0], append(shell[1:], "-c", `IFS= read -r c; eval "$(printf %b "$c")"`)...),
		} {
			run.Stdin = strings.NewReader(encode([]byte(line)) + "\n")
			said, err := run.Output()
			if want := strings.Join(words, "\x00") + "\x00"; err != nil || string(said) != want {
				t.Errorf("%v, %s: %v: %d bytes, want %d", shell, how, err, len(said), len(want))
			}
		}
	}
	if _, err := Line("a\x00b"); err == nil {
		t.Error("a zero byte passes")
	}
}

func connect(t *testing.T, s *testenv.SSHServer, link *testenv.Link) *sshconn.Conn {
	t.Helper()
	pin, err := sshconn.ParsePin(s.HostKey())
	if err != nil {
		t.Fatal(err)
	}
	c := sshconn.Config{Host: s.Host(), Port: s.Port(), Username: s.User, Pins: []sshconn.Pin{pin}, KeepAlive: time.Second,
		Env: connectors.Env{Credential: job.Credential{Type: "private_key", PrivateKey: secret.New(s.ClientKeyPEM)}}}
	if link != nil {
		c.Host, c.Port = link.Host, link.Port
	}
	conn, _, err := sshconn.Connect(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	})
	return conn
}

func TestProgramGetsItsWordsAndInput(t *testing.T) {
	t.Parallel()
	conn := connect(t, testenv.SSHD(t, testenv.SSHOptions{}), nil)
	words := awkward()
	said, err := Ask(t.Context(), conn, Command{Program: "printf", Args: append([]string{`%s\0`}, words...), What: "printing"})
	if want := strings.Join(words, "\x00") + "\x00"; err != nil || string(said) != want {
		t.Errorf("%v: %d bytes, want %d", err, len(said), len(want))
	}
	input := []byte(strings.Join(words, "\x00"))
	said, err = Ask(t.Context(), conn, Command{Program: "cat", Input: input, What: "copying"})
	if err != nil || string(said) != string(input) {
		t.Errorf("%v: %d bytes, want %d", err, len(said), len(input))
	}
	said, err = Ask(t.Context(), conn, Command{Program: "env", What: "showing the environment"})
	lines := strings.Fields(string(said))
	slices.Sort(lines)
	if err != nil || len(lines) != 4 || lines[0] != "HOME=/nonexistent" || lines[1] != "LC_ALL=C" || lines[3] != "TZ=UTC" {
		t.Errorf("the environment is %q, %v", lines, err)
	}
}

func TestEndings(t *testing.T) {
	t.Parallel()
	conn := connect(t, testenv.SSHD(t, testenv.SSHOptions{}), nil)
	password := secret.New("pass word")
	for script, want := range map[string]string{
		`echo plausible; echo "error: pass word" >&2; exit 1`: "exit status 1: error: [redacted]",
		`echo plausible; kill -9 $$`:                          "exit status 137",
		`exec /not/there`:                                     "exit status 127",
	} {
		_, err := Ask(t.Context(), conn, Command{Program: "sh", Args: []string{"-c", script}, What: "a thing", Secrets: []secret.Text{password}})
		if job.CodeOf(err) != job.DumpFailed || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", script, err)
		}
	}
	_, err := Ask(t.Context(), conn, Command{Program: "sleep", Args: []string{"600"}, What: "a thing", Patience: 300 * time.Millisecond})
	if job.CodeOf(err) != job.Timeout {
		t.Errorf("silence: %v", err)
	}
	if _, err := Ask(t.Context(), conn, Command{Program: "true", What: "a thing"}); err != nil {
		t.Errorf("the connection did not survive: %v", err)
	}
}

// What start files print is no output, and an account that runs something else is told of.
func TestOtherAccounts(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		command string
		code    job.Code
	}{
		"noise": {`echo hello; echo xvault-; exec /bin/sh -c "$SSH_ORIGINAL_COMMAND"`, ""},
		"sftp":  {"internal-sftp", job.PermissionDenied},
		"none":  {"/bin/false", job.PermissionDenied},
		"loud":  {`yes; exec /bin/sh -c "$SSH_ORIGINAL_COMMAND"`, job.ConfigInvalid},
	} {
		conn := connect(t, testenv.SSHD(t, testenv.SSHOptions{Extra: []string{"ForceCommand " + c.command}}), nil)
		said, err := Ask(t.Context(), conn, Command{Program: "echo", Args: []string{"yes"}, What: "a thing", Patience: 20 * time.Second})
		if c.code == "" && (err != nil || string(said) != "yes\n") || c.code != "" && job.CodeOf(err) != c.code {
			t.Errorf("%s: %q, %v", name, said, err)
		}
	}
}

// An account whose command ends before it was told what to run is told from a connection
// that broke, whichever of the two comes first.
func TestAccountsThatEndAtOnce(t *testing.T) {
	t.Parallel()
	conn := connect(t, testenv.SSHD(t, testenv.SSHOptions{Extra: []string{"ForceCommand /bin/false", "MaxSessions 20"}}), nil)
	var asking sync.WaitGroup
	for range 8 {
		asking.Go(func() {
			for range 15 {
				_, err := Ask(t.Context(), conn, Command{Program: "echo", What: "a thing", Patience: 20 * time.Second})
				if job.CodeOf(err) != job.PermissionDenied {
					t.Error(err)
				}
			}
		})
	}
	asking.Wait()
}

// running are the processes with a mark in their command line, and whether it is in one's
// environment.
func running(t *testing.T, mark string) (pids []int) {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range all {
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file))) // digits
		for _, name := range []string{"cmdline", "environ"} {
			if b, err := os.ReadFile(filepath.Join(filepath.Dir(file), name)); err == nil && strings.Contains(string(b), mark) && pid != os.Getpid() {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// parent is a process's parent.
func parent(pid int) int {
	b, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	_, after, _ := strings.Cut(string(b), "\nPPid:\t")
	line, _, _ := strings.Cut(after, "\n")
	n, _ := strconv.Atoi(line)
	return n
}

// within waits until something holds.
func within(t *testing.T, limit time.Duration, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not in time: " + what)
		}
	}
}

// However it ends, nothing goes on over there, also what prints nothing; and the input is
// seen nowhere.
func TestNothingGoesOn(t *testing.T) {
	t.Parallel()
	s := testenv.SSHD(t, testenv.SSHOptions{})
	for name, end := range map[string]func(*Output, *testenv.Link, context.CancelFunc, string){
		"close":  func(o *Output, _ *testenv.Link, _ context.CancelFunc, _ string) { _ = o.Close() },
		"cancel": func(_ *Output, _ *testenv.Link, cancel context.CancelFunc, _ string) { cancel() },
		"cut":    func(_ *Output, link *testenv.Link, _ context.CancelFunc, _ string) { link.Cut() },
		"killed shell": func(_ *Output, _ *testenv.Link, _ context.CancelFunc, mark string) {
			_ = syscall.Kill(parent(slices.Min(running(t, mark))), syscall.SIGKILL) // the shell that waits for it
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			link := testenv.SlowLink(t, s.Addr(), 0)
			conn := connect(t, s, link)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			mark := "mark-" + strings.ReplaceAll(name, " ", "-") + "-" + strconv.Itoa(os.Getpid())
			o, err := Start(ctx, conn, Command{Program: "sh", Args: []string{"-c", "trap : TERM; echo begun; while :; do sleep 0.2; done", mark}, What: "a thing", Input: []byte("canary-" + mark[5:])})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = o.Close() }()
			begun := make([]byte, 6)
			if _, err := io.ReadFull(o, begun); err != nil {
				t.Fatal(err)
			}
			// Between its fork and its exec, a sleep has the command line of its shell.
			within(t, 15*time.Second, "one process", func() bool { return len(running(t, mark)) == 1 })
			if with := running(t, "canary-"+mark[5:]); len(with) != 0 {
				t.Errorf("running with the input: %v", with)
			}
			end(o, link, cancel, mark)
			if _, err := io.ReadAll(o); err == nil || errors.Is(err, io.EOF) {
				t.Errorf("it ended well")
			}
			within(t, 15*time.Second, "its end", func() bool { return len(running(t, mark)) == 0 })
		})
	}
}
