package worker

import (
	"context"
	"errors"
	"log/slog"
	"sync"

	"github.com/google/uuid"

	"xvault/internal/job"
	"xvault/store/blob"
	"xvault/store/localfs"
)

// storage watches over the worker's store: it may not be mounted yet, be taken
// away, or come back. Nothing is concluded about snapshots while it is not
// there, and no job is taken.
type storage struct {
	open  func(expected uuid.UUID) (blob.Store, error)
	state *state
	log   *slog.Logger

	mu     sync.Mutex
	store  blob.Store // the last one that was opened; nil before
	status string     // of job.StorageOK ...
	err    error      // why it is not ok
}

func newStorage(cfg Config, st *state) *storage {
	return &storage{
		open: func(expected uuid.UUID) (blob.Store, error) {
			fs, err := localfs.Open(localfs.Config{Base: cfg.StorageBase, Expected: expected, ReadBack: cfg.ReadBack, Log: cfg.Log})
			if err != nil {
				return nil, err // not a nil *FS in an interface
			}
			return fs, nil
		},
		state: st,
		log:   cfg.Log,
	}
}

// check looks at the storage, opens it if it can be, and tells its status.
func (s *storage) check(ctx context.Context) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.reopen(ctx)
	status := statusOf(err)
	if status != s.status || err != nil && s.err == nil {
		if err != nil {
			s.log.Warn("the storage cannot be used; no job is taken until it can", "status", status, "error", err)
		} else {
			s.log.Info("the storage is ready", "storage_id", s.store.ID())
		}
	}
	s.status, s.err = status, err
	return status
}

func (s *storage) reopen(ctx context.Context) error {
	if s.store != nil && s.store.Check() == nil {
		return nil
	}
	expected, err := s.state.storageID()
	if err != nil {
		return err
	}
	store, err := s.open(expected)
	if err != nil {
		return err
	}
	if err := s.take(ctx, store, expected); err != nil {
		return errors.Join(err, store.Close())
	}
	old := s.store
	s.store = store
	if old != nil {
		if err := old.Close(); err != nil {
			s.log.Warn("close the former storage", "error", err)
		}
	}
	return nil
}

// take keeps the identity and clears away what a process that died left behind.
// Nothing is staged yet: this process alone holds the storage.
func (s *storage) take(ctx context.Context, store blob.Store, expected uuid.UUID) error {
	if store.ID() != expected {
		if err := s.state.keepStorageID(store.ID()); err != nil {
			return err
		}
	}
	swept, err := store.SweepStaging(ctx)
	if swept.Items > 0 {
		s.log.Info("removed what an earlier process had not finished", "items", swept.Items, "bytes", swept.Bytes)
	}
	return err
}

func statusOf(err error) string {
	switch {
	case err == nil:
		return job.StorageOK
	case errors.Is(err, blob.ErrForeign):
		return job.StorageForeign
	default:
		return job.StorageMissing
	}
}

// current gives the store, or why there is none.
func (s *storage) current() (blob.Store, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.status != job.StorageOK {
		return nil, &blob.Error{Op: "open storage", Err: errors.Join(blob.ErrMissing, s.err)}
	}
	return s.store, nil
}

// id is the identity of the storage at hand; none while it cannot be used.
func (s *storage) id() uuid.UUID {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.status == job.StorageOK {
		return s.store.ID()
	}
	return uuid.Nil
}

// ready tells whether jobs can be done on it.
func (s *storage) ready() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status == job.StorageOK
}

// usage gives zeros where nothing can be measured.
func (s *storage) usage() (free, total int64) {
	store, err := s.current()
	if err != nil {
		return 0, 0
	}
	free, total, err = store.Usage()
	if err != nil {
		s.log.Warn("measure storage", "error", err)
		return 0, 0
	}
	return free, total
}

func (s *storage) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status = job.StorageMissing
	if s.store == nil {
		return nil
	}
	return s.store.Close()
}
