package worker

import (
	"errors"
	"fmt"
	"os"
	"path"
	"sync"

	"github.com/google/uuid"
)

// unconfirmedDir holds an empty file for each snapshot that this worker put on
// its storage and of which it does not know that the catalog has it.
const unconfirmedDir = "unconfirmed"

// unconfirmed are the only snapshots that may ever be removed because the hub
// does not know them. What a catalog once had and has no more was forgotten by
// the catalog, which may have been lost, or restored from last week: it may be
// all that is left.
//
// A mark is not synced when it is made: one that a crash of the machine loses
// only makes an orphan stay. That it is gone is durable.
type unconfirmed struct {
	root *os.Root

	mu   sync.Mutex
	busy map[uuid.UUID]bool // their attempts go on in this process
}

func (s *state) unconfirmed() (*unconfirmed, error) {
	if err := s.root.Mkdir(unconfirmedDir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("write worker state: %w", err)
	}
	return &unconfirmed{root: s.root, busy: make(map[uuid.UUID]bool)}, nil
}

// add marks a snapshot that is about to be put on the storage. The attempt goes
// on until release.
func (u *unconfirmed) add(id uuid.UUID) (release func(), err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	f, err := u.root.OpenFile(path.Join(unconfirmedDir, id.String()), os.O_WRONLY|os.O_CREATE, 0o600)
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("write worker state: %w", err)
	}
	u.busy[id] = true
	return func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		delete(u.busy, id)
	}, nil
}

// confirm takes the mark away: the catalog has the snapshot, or nobody.
func (u *unconfirmed) confirm(id uuid.UUID) error {
	err := u.root.Remove(path.Join(unconfirmedDir, id.String()))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err == nil {
		var dir *os.File
		if dir, err = u.root.Open(unconfirmedDir); err == nil {
			err = errors.Join(dir.Sync(), dir.Close())
		}
	}
	if err != nil {
		return fmt.Errorf("write worker state: %w", err)
	}
	return nil
}

// list gives the marked snapshots whose attempts are over.
func (u *unconfirmed) list() (map[uuid.UUID]bool, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	dir, err := u.root.Open(unconfirmedDir)
	if err != nil {
		return nil, fmt.Errorf("read worker state: %w", err)
	}
	names, err := dir.Readdirnames(-1)
	if err = errors.Join(err, dir.Close()); err != nil {
		return nil, fmt.Errorf("read worker state: %w", err)
	}
	marked := make(map[uuid.UUID]bool, len(names))
	for _, name := range names {
		if id, err := uuid.Parse(name); err == nil && !u.busy[id] {
			marked[id] = true
		}
	}
	return marked, nil
}
