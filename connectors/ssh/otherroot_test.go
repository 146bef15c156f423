package ssh_test

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"xvault/connectors"
	"xvault/connectors/ssh"
	"xvault/internal/entry"
	"xvault/internal/testenv"
)

// elsewhere is a program that sees another folder in the place of dir.
func elsewhere(t *testing.T, program, dir, other string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("run the tests as root: this one mounts a folder in the place of another")
	}
	return `exec unshare -m sh -c 'mount --bind "` + other + `" "` + dir + `" && PATH=/usr/bin:/bin && exec "$@"' sh ` + program + ` "$@"`
}

// twoRoots makes a folder with one file, and the same as a shell may see it: with
// other content of the same length and age.
func twoRoots(t *testing.T) (right, wrong string) {
	t.Helper()
	top := testenv.Dir(t)
	at := time.Unix(1_500_000_000, 0)
	for _, content := range []string{"right", "wrong"} {
		dir := filepath.Join(top, content)
		path := filepath.Join(dir, "data", "file")
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		if err == nil {
			err = os.WriteFile(path, []byte(content), 0o644)
		}
		for _, p := range []string{path, filepath.Dir(path), dir} {
			if err == nil {
				err = os.Chtimes(p, at, at)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(top, "right"), filepath.Join(top, "wrong")
}

// A shell may see other files under the same names than SFTP does. What its tar sends
// is not believed where nothing shows that it is what SFTP would send.
func TestOtherFilesUnderTheSameName(t *testing.T) {
	t.Parallel()
	right, wrong := twoRoots(t)
	busybox := `echo 'BusyBox v1.36'`
	readsAlone(t, fake{"find": busybox, "tar": elsewhere(t, "tar", right, wrong)}, right, "no GNU findutils")
}

// The paths that SFTP shows need not be there for the shell.
func TestNoSuchPathInTheShell(t *testing.T) {
	t.Parallel()
	right, _ := twoRoots(t)
	empty := testenv.Dir(t)
	readsAlone(t, fake{"find": elsewhere(t, "find", right, empty), "tar": elsewhere(t, "tar", right, empty)}, right, "find does not show")
}

// readsAlone reads what is in a folder over SFTP alone, says so and why, and tells the same before.
func readsAlone(t *testing.T, programs fake, dir, why string) {
	t.Helper()
	s := testenv.SSHD(t, programs.options(t))
	patient := calm
	patient.ShellPatience, patient.FindPatience = time.Minute, time.Minute
	src, log := open(t, ssh.New(patient), s, s.Config(filepath.Join(dir, "data")))
	probed, err := src.Probe(t.Context())
	if err != nil || !strings.HasPrefix(probed.Transport, "SFTP alone, because") || !strings.Contains(probed.Transport, why) {
		t.Errorf("the probe tells %q, error %v", probed.Transport, err)
	}
	files := 0
	err = src.Read(t.Context(), func(item connectors.Item) error {
		if item.Kind != entry.File {
			return nil
		}
		files++
		b, err := io.ReadAll(item.Body)
		if string(b) != "right" {
			t.Errorf("%q holds %q", item.Path, b)
		}
		return err
	})
	if err != nil || files != 1 {
		t.Errorf("%d files, error %v", files, err)
	}
	if said := log.String(); !strings.Contains(said, "over SFTP alone") || !strings.Contains(said, why) || strings.Contains(said, "through its shell") {
		t.Errorf("the log says %s", said)
	}
}
