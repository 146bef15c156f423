package sftp

import (
	"errors"
	"io"
	"strings"

	"xvault/connectors/sftp/wire"
	"xvault/internal/job"
)

// errCrowded ends a listing made ahead of its turn for which there is no room.
var errCrowded = errors.New("no room for this listing now")

// notDirError says that what should be listed is something else by now.
type notDirError struct{ now wire.Attrs }

func (e *notDirError) Error() string { return "not a directory any more" }

// list reads one directory. charge is asked before the listing grows by so many bytes; what was granted
// stands in the listing's size, also when an error is returned with it.
func (l *lister) list(d dirToList, charge func(int64) error) (*listing, error) {
	if list, err := l.listByFind(d, charge); !errors.Is(err, errNotFound) {
		return list, err
	}
	return l.listBySFTP(d, charge)
}

// listByFind lists a directory through find; errNotFound where SFTP must.
func (l *lister) listByFind(d dirToList, charge func(int64) error) (*listing, error) {
	if l.finder == nil || d.file == (inode{}) || l.doubtful[d.path] {
		return nil, errNotFound
	}
	list, err := l.finder.list(d, charge)
	if err == nil {
		l.owners.learn(list)
	}
	if errors.Is(err, errNotFound) && list != nil {
		_ = charge(-list.size) // given back, not asked for
	}
	return list, err
}

func (l *lister) listBySFTP(d dirToList, charge func(int64) error) (*listing, error) {
	path := d.path
	open := l.s.OpenDir(path)
	// Looked at after it was opened: a link that took its place in between does
	// not go unnoticed.
	before := l.lookAt(d)
	handle, err := open.Handle()
	self, lookErr := before.answer()
	if err == nil && lookErr != nil || err == nil && notDir(self) {
		err = errors.Join(l.s.CloseHandle(handle).Status(), lookErr)
		if err == nil {
			err = &notDirError{self}
		}
		return nil, err
	}
	if err != nil {
		if lookErr == nil && notDir(self) {
			return nil, &notDirError{self}
		}
		return nil, err
	}
	list := &listing{self: self, blind: tooDeep(path)}
	dots, err := l.readAll(path, handle, list, charge)
	if err == nil && dots == 0 {
		err = l.searchable(path)
	}
	// And after it was read: a server may look its entries up by their paths, which
	// a link that took its place meanwhile leads elsewhere.
	if err == nil {
		err = l.lookAt(d).stillDir()
	}
	// Not waited for: nothing depends on it, and a lost connection shows anyway.
	l.s.CloseHandle(handle)
	if err != nil {
		return list, err
	}
	list.sort()
	l.owners.learn(list)
	return list, nil
}

// longestName is how long a name can be that a file system of today holds, in bytes.
const longestName = 255

// tooDeep finds a directory in which names may be that a server does not show. OpenSSH
// looks each up by its path, cut to maxPath bytes, and says nothing of those that it
// does not find then.
func tooDeep(path string) bool { return len(join(path, ""))+longestName > maxPath }

// standing is what a directory and the folders above it are.
type standing struct {
	self    *look
	parents []*look
}

// lookAt asks for it.
func (l *lister) lookAt(d dirToList) standing {
	s := standing{self: l.looks.at(d.path, d.follow)}
	for _, path := range between(d.root, d.path) {
		s.parents = append(s.parents, l.looks.at(path, false))
	}
	return s
}

// answer gives the directory's attributes, or those of what is no directory above
// it: a folder there may be a link by now, and this the inside of another one.
func (s standing) answer() (wire.Attrs, error) {
	self, err := s.self.answer()
	for _, parent := range s.parents {
		above, aboveErr := parent.answer()
		switch {
		case err != nil:
		case aboveErr == nil && notDir(above):
			self = above
		case aboveErr != nil && (!wire.IsStatus(aboveErr) || errors.Is(aboveErr, wire.ErrNotExist)):
			err = aboveErr
		}
	}
	return self, err
}

// stillDir is an error where something else than directories stands there.
func (s standing) stillDir() error {
	self, err := s.answer()
	if err == nil && notDir(self) {
		err = &notDirError{self}
	}
	return err
}

func notDir(a wire.Attrs) bool { return a.HasMode && a.Mode&wire.ModeType != wire.ModeDir }

// between gives the folders that lead from a configured path to a path, both left out.
func between(root, path string) (folders []string) {
	for i := len(strings.TrimSuffix(root, "/")) + 1; i < len(path); i++ {
		if path[i] == '/' {
			folders = append(folders, path[:i])
		}
	}
	return folders
}

// maxDots is how often "." and "..", which are not kept, may come in one folder.
const maxDots = 1000

// fullBatch is how many names OpenSSH puts into a batch; a shorter one is its last.
const fullBatch = 100

// readAll asks for several batches at once, for a batch is a round trip. What is asked
// for in vain costs the server as much as a file does, so that there are more only
// where names keep coming: in full batches, or, from other servers, in shorter ones.
func (l *lister) readAll(path, handle string, list *listing, charge func(int64) error) (dots int, err error) {
	window := l.batchesOf(list.self.Size)
	var calls []*wire.Call
	var failure error
	over := false  // nothing more is asked for
	short := false // a batch was not full
	for !over || len(calls) > 0 {
		for !over && len(calls) < window && l.mayAsk(len(calls) == 0) {
			calls = append(calls, l.s.ReadDir(handle))
		}
		before := list.count
		seen, err := l.readBatch(path, calls[0], list, charge)
		dots += seen
		if dots > maxDots && err == nil {
			err = job.Errorf(job.Internal, "the server lists %q without an end; it is broken or hostile", path)
		}
		calls = calls[1:]
		<-l.batches
		switch got := list.count - before + seen; {
		case !l.pipelined || got == 0:
		case got >= fullBatch || short:
			window = min(2*window, 32)
		default: // most likely that was all, as what was asked for already will tell
			short, window = true, max(1, len(calls))
		}
		if errors.Is(err, io.EOF) {
			// Later answers may still bring names.
			over, err = true, nil
		}
		if err != nil && failure == nil {
			over, failure = true, err
		}
	}
	return dots, failure
}

// batchesOf is how many batches of a directory are asked for at first: as many as its
// size may hold, and the one that says that there are no more. What has one block of a
// disk mostly holds one batch, and seldom two; the second is asked for at once where it
// would come late.
func (l *lister) batchesOf(size uint64) int {
	const block = 4096
	switch {
	case !l.pipelined:
		return 1
	case size <= block && l.s.near():
		return 2
	default:
		return 2 + int(min(size/block, 14))
	}
}

// searchable finds a directory whose names can be read, but that cannot be
// entered: OpenSSH leaves every name out that it cannot look at, so that such a
// directory seems to be empty. Not even "." is in it then.
func (l *lister) searchable(path string) error {
	_, err := l.s.Lstat(join(path, ".")).Attrs()
	if err == nil || wire.IsStatus(err) && !errors.Is(err, wire.ErrPermission) {
		return nil
	}
	return err
}

// mayAsk waits only where nothing is on its way that the caller could turn to
// instead; otherwise many listings could wait for each other.
func (l *lister) mayAsk(wait bool) bool {
	if wait {
		l.batches <- struct{}{}
		return true
	}
	select {
	case l.batches <- struct{}{}:
		return true
	default:
		return false
	}
}

func (l *lister) readBatch(path string, call *wire.Call, list *listing, charge func(int64) error) (dots int, err error) {
	before := list.size
	err = call.Names(func(name, long []byte, a wire.Attrs) error {
		if isDots(name) {
			dots++
			return nil
		}
		if err := checkName(path, name); err != nil {
			return err
		}
		list.add(name, long, a)
		return nil
	})
	if grown := list.size - before; grown > 0 {
		if chargeErr := charge(grown); chargeErr != nil && err == nil {
			err = chargeErr
		}
	}
	return dots, err
}

// errTooLarge is for a folder that cannot be sorted in memory.
func errTooLarge(path string, limit int64) error {
	return job.Errorf(job.ConfigInvalid,
		"the folder %q holds more names than fit into the %d MiB that are there to sort them; exclude it, or what is above it", path, limit>>20)
}
