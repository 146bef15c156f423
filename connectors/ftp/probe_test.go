package ftp_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"xvault/connectors"
	"xvault/connectors/ftp"
	"xvault/internal/job"
	"xvault/internal/testenv"
)

// Words of the two warnings about what the login may do.
const (
	mayWrite   = "may change what is there"
	notToTell  = "cannot be told whether this login can write"
	otherWords = "nothing is encrypted"
)

// writeWarnings are the warnings of a probe that speak of writing.
func writeWarnings(t *testing.T, config map[string]any, credential job.Credential) []string {
	t.Helper()
	source := opened(t, ftp.New(ftp.Options{Patience: 5 * time.Second}), config, connectors.Env{Credential: credential, Dial: connectors.NewDialer(connectors.DialerConfig{})})
	probe, err := source.Probe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var about []string
	for _, w := range probe.Warnings {
		if !strings.Contains(w, otherWords) {
			about = append(about, w)
		}
	}
	return about
}

// wantWarning wants one warning with all of the words, or none.
func wantWarning(t *testing.T, what string, got []string, words ...string) {
	t.Helper()
	if len(words) == 0 && len(got) == 0 {
		return
	}
	if len(words) == 0 || len(got) != 1 {
		t.Errorf("%s: warnings %q, want %q", what, got, words)
		return
	}
	for _, w := range words {
		if !strings.Contains(got[0], w) {
			t.Errorf("%s: warning %q, want %q", what, got[0], w)
		}
	}
}

func TestProbeTellsWhetherTheLoginCanWrite(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		dir, file string // what MLST says; empty: nothing, it refuses
		want      []string
	}{
		"reads":            {dir: "type=cdir;perm=fle; .", file: "type=file;perm=r; a"},
		"ProFTPD's reader": {dir: "type=cdir;perm=fle; .", file: "type=file;perm=adfr; a"}, // so it says of every file
		"makes files":      {dir: "Type=cdir;Perm=elc; .", file: "type=file;perm=r; a", want: []string{mayWrite, `"/d"`}},
		"makes folders":    {dir: "type=cdir;perm=elm; .", file: "type=file;perm=r; a", want: []string{mayWrite}},
		"purges":           {dir: "type=cdir;perm=PEL; .", file: "type=file;perm=r; a", want: []string{mayWrite}},
		"removes":          {dir: "type=cdir;perm=del; .", file: "type=file;perm=r; a", want: []string{mayWrite}},
		"writes the file":  {dir: "type=cdir;perm=el; .", file: "type=file;perm=rw; a", want: []string{mayWrite, `"/d/a"`}},
		"both":             {dir: "type=cdir;perm=elc; .", file: "type=file;perm=rw; a", want: []string{mayWrite, `"/d"`, `"/d/a"`}},
		"nothing at all":   {dir: "type=cdir;perm=; .", file: "type=file;perm=; a"},
		"no perm":          {dir: "type=cdir; .", file: "type=file; a", want: []string{notToTell}},
		"one without perm": {dir: "type=cdir;perm=el; .", file: "type=file; a", want: []string{notToTell}},
		"one of each":      {dir: "type=cdir;perm=elcmp; .", file: "type=file; a", want: []string{mayWrite, `"/d"`}},
		"refuses":          {want: []string{notToTell}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			facts := map[string]string{"": c.dir, "a": c.file}
			f.hook = func(c *fakeConn, verb, arg string) bool {
				line := facts[arg]
				switch {
				case verb != "MLST":
					return false
				case line == "":
					c.say("550 not for you")
				default:
					c.say("250-these\r\n %s\r\n250 end", line)
				}
				return true
			}
			wantWarning(t, name, writeWarnings(t, f.config("/d", "/d/a"), fakeCredential), c.want...)
		})
	}
}

// Of Debian's servers only ProFTPD says what a user may do.
func TestProbeOfServersTellsWhetherTheLoginCanWrite(t *testing.T) {
	t.Parallel()
	for kind, want := range map[string][]string{"proftpd": {mayWrite}, "pure-ftpd": {notToTell}, "vsftpd": {notToTell}} {
		s := testenv.FTPD(t, testenv.FTPOptions{Kind: kind})
		put(t, filepath.Join(s.Root, "file"), nil)
		wantWarning(t, kind, writeWarnings(t, s.Config(s.Root), s.Credential()), want...)
		if kind != "proftpd" {
			continue
		}
		if err := os.Chown(s.Root, os.Getuid(), os.Getgid()); err != nil {
			t.Fatal(err)
		}
		readers := s.Config(s.Root, s.Root+"/file")
		wantWarning(t, kind+", where root alone may write", writeWarnings(t, readers, s.Credential()))
	}
}
