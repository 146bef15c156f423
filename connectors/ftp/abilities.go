package ftp

import (
	"sync"

	"xvault/connectors/ftp/wire"
)

// abilities are what a server proved that it can, or cannot, set. There is no asking
// beforehand: a server may know a command and refuse it to this user.
type abilities struct {
	mu                sync.Mutex
	modes, file, dirs ability
}

// ability counts the answers to one kind of request.
type ability struct {
	granted, refused int
	unknown          bool // the server does not know the command
}

// triesInVain is how often a server is asked for what it never granted.
const triesInVain = 8

func (a *ability) hopeless() bool { return a.granted == 0 && (a.unknown || a.refused >= triesInVain) }

// ask asks for something unless there is no hope. The error is one of the connection.
func (a *abilities) ask(which *ability, request func() error) (granted bool, err error) {
	a.mu.Lock()
	hopeless := which.hopeless()
	a.mu.Unlock()
	if hopeless {
		return false, nil
	}
	err = request()
	if err != nil && !isRefusal(err) {
		return false, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if err == nil {
		which.granted++
		return true, nil
	}
	which.refused++
	switch wire.CodeOf(err) {
	case 500, 501, 502, 504:
		which.unknown = true
	}
	return false, nil
}

// notes say what the server never did though it was asked to.
func (a *abilities) notes() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var notes []string
	for _, n := range []struct {
		ability
		text string
	}{
		{a.modes, "The server sets no modes for this user (SITE CHMOD): files and folders have those that it gives to new ones."},
		{a.file, "The server sets no times of files for this user (MFMT, MDTM): they have the time at which they were written."},
		{a.dirs, "The server sets no times of folders for this user (MFMT): they have the time at which they were written to."},
	} {
		if n.granted == 0 && n.refused > 0 {
			notes = append(notes, n.text)
		}
	}
	return notes
}
