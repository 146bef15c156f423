package ssh_test

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"xvault/connectors"
	"xvault/connectors/sftp"
	"xvault/connectors/ssh"
	"xvault/internal/entry"
	"xvault/internal/job"
	"xvault/internal/testenv"
)

// plantDeep makes folders in each other, with a file in each, until a path is longer
// than any that can be opened, and tells how many files have one that can.
func plantDeep(t *testing.T, root string) (files int) {
	t.Helper()
	const longest = 4095
	name := strings.Repeat("d", 200)
	at, err := unix.Open(root, unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	for n := len(root); n <= longest+500 && err == nil; n += 1 + len(name) {
		var file, next int
		if file, err = unix.Openat(at, "file", unix.O_CREAT|unix.O_WRONLY|unix.O_CLOEXEC, 0o644); err == nil {
			err = unix.Close(file)
		}
		if n+len("/file") <= longest {
			files++
		}
		if err == nil {
			err = unix.Mkdirat(at, name, 0o755)
		}
		if err == nil {
			next, err = unix.Openat(at, name, unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		}
		if err == nil {
			err = unix.Close(at)
		}
		at = next
	}
	if err == nil {
		err = unix.Close(at)
	}
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// What has a longer path than a server can open is named where find shows it. Over
// SFTP alone OpenSSH does not show it.
func TestPathsTooLongToOpen(t *testing.T) {
	t.Parallel()
	s := testenv.SSHD(t, testenv.SSHOptions{})
	want := plantDeep(t, s.Root)
	for _, c := range []struct {
		kind connectors.Type
		told int
	}{{ssh.New(quick), 1}, {sftp.New(quick), 0}} {
		src, _ := open(t, c.kind, s, s.Config(s.Root))
		files, told := 0, 0
		err := src.Read(t.Context(), func(item connectors.Item) error {
			switch {
			case item.Err != nil && item.Err.Code == job.PermissionDenied && len(item.Path) >= 4095: // without the first slash
				told++
			case item.Err != nil:
				t.Errorf("a path of %d bytes: %v", len(item.Path), item.Err)
			case item.Kind == entry.File:
				files++
			}
			return nil
		})
		if err != nil || files != want || told != c.told {
			t.Errorf("%s: %d files of %d, %d told of, want %d, error %v", c.kind.Name, files, want, told, c.told, err)
		}
	}
}
