package sftp_test

import (
	"errors"
	"io"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"xvault/connectors"
	"xvault/connectors/sftp"
	"xvault/internal/testenv"
)

// Where this machine has no processor left, no more is made to wait for.
func TestNoMoreConnectionsOnABusyMachine(t *testing.T) {
	t.Parallel()
	s := testenv.SSHD(t, testenv.SSHOptions{Extra: []string{"MaxSessions 1"}})
	content := largeFile(t, filepath.Join(s.Root, "f"), 64<<20)
	link := testenv.SlowLink(t, s.Addr(), oneWay)
	o := far()
	o.BusyAt = 1e-9
	var dialed routes
	sum, ended, err := readFar(t, o, link.Config(s, s.Root), connectors.Env{Credential: keyOf(s), Dial: &dialed}, nil)
	if err != nil || ended != nil || sum != content {
		t.Error(err, ended, "or other content")
	}
	if n := dialed.count(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// What is known to take many round trips through one channel is read through several
// from the beginning, and nothing else is before there is a need.
func TestALargeFileIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	for size, several := range map[int64]bool{64 << 20: true, 32 << 20: false} {
		s := testenv.SSHD(t, testenv.SSHOptions{})
		content := largeFile(t, filepath.Join(s.Root, "f"), size)
		link := testenv.SlowLink(t, s.Addr(), oneWay)
		o := quick
		o.WidenAt = 1 << 40
		sum, ended, err := readFar(t, o, link.Config(s, s.Root), connectors.Env{Credential: keyOf(s)}, nil)
		if err != nil || ended != nil || sum != content {
			t.Error(err, ended, "or other content")
		}
		if n := servers(s); n > 1 != several {
			t.Errorf("%d MiB were read through %d channels", size>>20, n)
		}
	}
}

// What all sources together hold for long lines is bounded. Each may have it after
// another.
func TestSharedMemoryBoundsChannels(t *testing.T) {
	t.Parallel()
	s := testenv.SSHD(t, testenv.SSHOptions{})
	largeFile(t, filepath.Join(s.Root, "f"), 48<<20)
	o := far()
	o.Stretch = 6 << 20 // two more channels
	o.BusyAt = 1e-9     // and no further connections, which share them
	kind := sftp.New(o)
	link := testenv.SlowLink(t, s.Addr(), oneWay)
	var reading sync.WaitGroup
	for range 3 {
		reading.Go(func() {
			src, err := sourceOf(t, kind, link.Config(s, s.Root), connectors.Env{Credential: keyOf(s)})
			if err != nil {
				t.Error(err)
				return
			}
			_, n := readAll(t, src)
			if err := src.Close(); err != nil || n != 48<<20 {
				t.Errorf("%d bytes, %v", n, err)
			}
		})
	}
	reading.Wait()
	if n := servers(s); n > 3+3*2 || n < 4 {
		t.Errorf("%d SFTP servers for three sources", n)
	}
}

// Channels that were opened for a file's size alone, and bring little, hold no memory
// that another source could use.
func TestMemoryThatDoesNotPayIsLent(t *testing.T) {
	t.Parallel()
	s := testenv.SSHD(t, testenv.SSHOptions{})
	largeFile(t, filepath.Join(s.Root, "f"), 64<<20)
	o := quick
	o.WidenAt = 1 << 40 // nothing pays
	o.Stretch = 6 << 20 // two more channels
	kind := sftp.New(o)
	link := testenv.SlowLink(t, s.Addr(), oneWay)
	read := func(during func()) {
		src, err := sourceOf(t, kind, link.Config(s, s.Root), connectors.Env{Credential: keyOf(s)})
		if err != nil {
			t.Fatal(err)
		}
		err = src.Read(t.Context(), func(item connectors.Item) error {
			if item.Body == nil {
				return nil
			}
			during()
			n, err := io.Copy(io.Discard, item.Body)
			if n != 64<<20 {
				t.Errorf("%d bytes", n)
			}
			return err
		})
		if err := errors.Join(err, src.Close()); err != nil {
			t.Error(err)
		}
	}
	read(func() {
		testenv.Eventually(t, 2*time.Minute, func() bool { return servers(s) == 3 }, "two more channels")
		read(func() {
			testenv.Eventually(t, 2*time.Minute, func() bool { return servers(s) == 6 }, "as many for the second source")
		})
	})
}

// No connection is made that would come into use when little is left to read.
func TestNoConnectionForWhatIsSoonOver(t *testing.T) {
	t.Parallel()
	s := testenv.SSHD(t, testenv.SSHOptions{Extra: []string{"MaxSessions 1"}})
	content := largeFile(t, filepath.Join(s.Root, "f"), 14<<20) // seven round trips
	link := testenv.SlowLink(t, s.Addr(), 10*oneWay)
	var dialed routes
	sum, ended, err := readFar(t, far(), link.Config(s, s.Root), connectors.Env{Credential: keyOf(s), Dial: &dialed}, nil)
	if err != nil || ended != nil || sum != content {
		t.Error(err, ended, "or other content")
	}
	if n := dialed.count(); n != 1 {
		t.Errorf("%d connections", n)
	}
}
