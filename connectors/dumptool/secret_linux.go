package dumptool

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Secret makes a file that exists in memory only, for Command.Files: readable for
// this process's user, and for whoever it is handed to. Nobody can change it any
// more. The caller closes it.
func Secret(content []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate("xvault", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("make a file in memory: %w", err)
	}
	f := os.NewFile(uintptr(fd), "memfd")
	if err := fill(f, content); err != nil {
		return nil, errors.Join(fmt.Errorf("fill a file in memory: %w", err), f.Close())
	}
	return f, nil
}

func fill(f *os.File, content []byte) error {
	// libpq refuses password files that others could read.
	if err := f.Chmod(0o600); err != nil {
		return err
	}
	if _, err := f.WriteAt(content, 0); err != nil {
		return err
	}
	_, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_SEAL|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_WRITE)
	return err
}
