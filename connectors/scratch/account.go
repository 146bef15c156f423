package scratch

import (
	"errors"
	"os"
	"os/user"
	"strconv"

	"xvault/internal/job"
)

// Users are whom programs run as by default, the first one that there is, of a worker
// that is root.
func Users() []string { return []string{"xvault-drill", sharedUser} }

// sharedUser is there on every machine, and not for this program alone.
const sharedUser = "nobody"

// account is who programs run as.
type account struct {
	name     string
	uid, gid int
	same     bool // it is this process's own
}

// whoRuns finds the account. A database server never runs as root.
func whoRuns(name string) (account, error) {
	if uid := os.Geteuid(); uid != 0 {
		own := account{uid: uid, gid: os.Getegid(), same: true}
		if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
			own.name = u.Username
		}
		if name != "" && name != own.name {
			return account{}, job.Errorf(job.Unprovable, "WORKER_DRILL_USER is %q, and only a worker that runs as root can run a scratch server as somebody else; unset it, or run the worker as root.", name)
		}
		return own, nil
	}
	names := Users()
	if name != "" {
		names = []string{name}
	}
	for _, name := range names {
		u, err := user.Lookup(name)
		if _, unknown := errors.AsType[user.UnknownUserError](err); unknown {
			continue
		}
		if err != nil {
			return account{}, job.Errorf(job.Unprovable, "The user %q, whom a scratch server would run as, cannot be looked up: %w", name, err)
		}
		return accountOf(u)
	}
	return account{}, job.Errorf(job.Unprovable, "The worker runs as root, and there is no user %q on its machine to run a scratch server as. Make one (useradd --system --shell /usr/sbin/nologin xvault-drill), or name one in WORKER_DRILL_USER.", names[0])
}

func accountOf(u *user.User) (account, error) {
	uid, err1 := strconv.ParseUint(u.Uid, 10, 31)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 31)
	if err := errors.Join(err1, err2); err != nil {
		return account{}, job.Errorf(job.Unprovable, "The user %q, whom a scratch server would run as, has no number: %w", u.Username, err)
	}
	if uid == 0 || gid == 0 {
		return account{}, job.Errorf(job.Unprovable, "A scratch server does not run as root: name another user than %q in WORKER_DRILL_USER.", u.Username)
	}
	return account{name: u.Username, uid: int(uid), gid: int(gid)}, nil
}

// own hands a file or folder over.
func (a account) own(path string) error {
	if a.same {
		return nil
	}
	return os.Chown(path, a.uid, a.gid)
}
