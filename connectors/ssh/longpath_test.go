package ssh_test

import (
	"errors"
	"slices"
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

// deep makes folders in each other, until the path of the innermost has a length, and
// has do called in each of them.
func deep(t *testing.T, root string, length int, do func(at int, path string) error) {
	t.Helper()
	path := root
	at, err := unix.Open(root, unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	for err == nil {
		if err = do(at, path); err != nil || len(path) >= length {
			break
		}
		name := strings.Repeat("d", min(200, max(1, length-len(path)-1)))
		if left := length - len(path) - 1 - len(name); left == 1 {
			name = name[1:] // for there is no name of no byte
		}
		path += "/" + name
		if err = unix.Mkdirat(at, name, 0o755); err != nil {
			break
		}
		var next int
		if next, err = unix.Openat(at, name, unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err == nil {
			err = unix.Close(at)
		}
		at = next
	}
	if err := errors.Join(err, unix.Close(at)); err != nil {
		t.Fatal(err)
	}
}

func touch(at int, name string) error {
	file, err := unix.Openat(at, name, unix.O_CREAT|unix.O_WRONLY|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return err
	}
	return unix.Close(file)
}

// told is a reading: how many files came, and the lengths of the absolute paths of what
// was named as unreadable.
func told(t *testing.T, kind connectors.Type, s *testenv.SSHServer) (files int, unread []int) {
	t.Helper()
	src, _ := open(t, kind, s, s.Config(s.Root))
	err := src.Read(t.Context(), func(item connectors.Item) error {
		switch {
		case item.Err != nil && item.Err.Code == job.PermissionDenied:
			unread = append(unread, 1+len(item.Path))
		case item.Err != nil:
			t.Errorf("a path of %d bytes: %v", len(item.Path), item.Err)
		case item.Kind == entry.File:
			files++
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	return files, unread
}

const (
	longest = 4095 // what a server can open
	deepest = 3839 // of a folder any name in which has a path that is not longer
)

// What has a longer path than a server can open is named where find shows it. Over
// SFTP alone OpenSSH does not show it, and every folder is named that it may be in.
func TestPathsTooLongToOpen(t *testing.T) {
	t.Parallel()
	s := testenv.SSHD(t, testenv.SSHOptions{})
	want, tooLong := 0, 0
	var doubtful []int
	deep(t, s.Root, longest+500, func(at int, path string) error {
		if len(path+"/file") <= longest {
			want++
		}
		switch {
		case len(path) <= deepest:
		case len(path) <= longest:
			doubtful = append(doubtful, len(path))
		case tooLong == 0:
			tooLong = len(path)
		}
		return touch(at, "file")
	})
	for _, c := range []struct {
		kind   connectors.Type
		unread []int
	}{{ssh.New(calm), []int{tooLong}}, {sftp.New(calm), doubtful}} {
		if files, unread := told(t, c.kind, s); files != want || !slices.Equal(unread, c.unread) {
			t.Errorf("%s: %d files of %d, told of %d, want %d", c.kind.Name, files, want, unread, c.unread)
		}
	}
}

// Names that OpenSSH leaves out: it looks them up by a path that it cuts. Where that is
// another file's it shows them, and nothing takes them for that one.
func TestNamesLeftOut(t *testing.T) {
	t.Parallel()
	s := testenv.SSHD(t, testenv.SSHOptions{})
	fits := longest - 4000 - 1
	var doubtful []int
	deep(t, s.Root, 4000, func(at int, path string) (err error) {
		if len(path) > deepest {
			doubtful = append(doubtful, len(path))
		}
		if len(path) < 4000 {
			return nil
		}
		for _, name := range []string{strings.Repeat("n", fits), strings.Repeat("n", fits+1), strings.Repeat("left", 50)} {
			err = errors.Join(err, touch(at, name))
		}
		return err
	})
	for _, c := range []struct {
		kind   connectors.Type
		unread []int
	}{{ssh.New(calm), []int{4201, longest + 1}}, {sftp.New(calm), append(doubtful, longest+1)}} {
		if files, unread := told(t, c.kind, s); files != 1 || !slices.Equal(unread, c.unread) {
			t.Errorf("%s: %d files, told of %d, want %d", c.kind.Name, files, unread, c.unread)
		}
	}
	// The longest path of a folder in which nothing can be left out.
	fine := testenv.SSHD(t, testenv.SSHOptions{})
	deep(t, fine.Root, deepest, func(at int, path string) error {
		return touch(at, strings.Repeat("f", 255))
	})
	if _, unread := told(t, sftp.New(calm), fine); len(unread) > 0 {
		t.Errorf("told of %d", unread)
	}
}
