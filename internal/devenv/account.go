package devenv

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"syscall"
)

// Account is a user that a program can run as.
type Account struct {
	Name     string
	UID, GID uint32
}

func (a *Account) credential() *syscall.Credential {
	return &syscall.Credential{Uid: a.UID, Gid: a.GID}
}

// own hands a file or folder to the account; nil means this process's user,
// who has it already.
func (a *Account) own(path string) error {
	if a == nil {
		return nil
	}
	return os.Lchown(path, int(a.UID), int(a.GID))
}

// unprivileged finds an account for programs that refuse to run as root. It is
// nil where this process is not root anyway.
func unprivileged(names ...string) (*Account, error) {
	if os.Getuid() != 0 {
		return nil, nil // no account means: stay who you are
	}
	for _, name := range names {
		u, err := user.Lookup(name)
		if _, ok := errors.AsType[user.UnknownUserError](err); ok {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("look up user %s: %w", name, err)
		}
		uid, err := strconv.ParseUint(u.Uid, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("user %s: %w", name, err)
		}
		gid, err := strconv.ParseUint(u.Gid, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("user %s: %w", name, err)
		}
		return &Account{Name: name, UID: uint32(uid), GID: uint32(gid)}, nil
	}
	return nil, fmt.Errorf("running as root, and none of the users %v exists to run Postgres as: run `make deps`", names)
}
