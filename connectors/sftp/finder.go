package sftp

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"xvault/connectors/sftp/shell"
	"xvault/connectors/sftp/wire"
)

// finder lists folders through find, many at a time: while one find runs, those
// that are wanted next gather.
type finder struct {
	h   *helper
	ctx context.Context //nolint:containedctx // of the helper, which all of it ends with

	mu       sync.Mutex
	pending  []*findJob
	running  int
	failures int
}

const (
	maxFinds = 2
	// foldersPerFind bounds what waits for one find to end.
	foldersPerFind = maxActive
	// maxFindFailures is after how many failed finds no more are tried.
	maxFindFailures = 3
)

// findJob is a folder to list.
type findJob struct {
	dir    dirToList
	charge func(int64) error
	done   chan struct{}

	list *listing
	err  error
}

// errNotFound says that find does not tell what a folder holds; SFTP does.
var errNotFound = errors.New("find does not show the folder")

// list lists a folder, of which the inode is known. After an error that is not one
// of charge the listing is not to be used, but what was granted for it stands in
// its size.
func (f *finder) list(d dirToList, charge func(int64) error) (*listing, error) {
	j := &findJob{dir: d, charge: charge, done: make(chan struct{}), err: errNotFound}
	f.mu.Lock()
	if f.failures >= maxFindFailures {
		f.mu.Unlock()
		return nil, errNotFound
	}
	f.pending = append(f.pending, j)
	if f.running < maxFinds {
		f.running++
		go f.run() // until nothing is pending; whoever waits for that waits for this
	}
	f.mu.Unlock()
	<-j.done
	return j.list, j.err
}

func (f *finder) run() {
	for {
		f.mu.Lock()
		jobs := f.pending[:min(len(f.pending), foldersPerFind)]
		f.pending = f.pending[len(jobs):]
		if len(jobs) == 0 {
			f.running--
			f.mu.Unlock()
			return
		}
		f.mu.Unlock()
		err := f.find(jobs)
		f.mu.Lock()
		if err != nil {
			f.failures++
		}
		f.mu.Unlock()
		for _, j := range jobs {
			close(j.done)
		}
	}
}

// find lists some folders.
func (f *finder) find(jobs []*findJob) error {
	r := finding{devices: &f.h.devices, jobs: make(map[string]*findJob, len(jobs))}
	paths := make([]string, len(jobs))
	for i, j := range jobs {
		r.jobs[j.dir.path], paths[i] = j, j.dir.path
	}
	said, err := shell.Find(f.ctx, f.h.conn, paths, false, r.take, &f.h.watch)
	for _, path := range said.Doubtful {
		for _, p := range [2]string{path, parent(path)} {
			if j := r.jobs[p]; j != nil {
				j.err = errNotFound
			}
		}
	}
	for _, j := range jobs {
		if err != nil {
			j.err = errNotFound
		}
		if j.err == nil {
			j.list.sort()
		}
	}
	return err
}

// finding gives what one find shows to those who wait for it.
type finding struct {
	devices *devices
	jobs    map[string]*findJob // by path
	now     *findJob
}

func (f *finding) take(r *shell.Record) error {
	attrs, err := attrsOf(r)
	switch {
	case err != nil:
		return err
	case r.Depth == 0:
		if f.now = f.jobs[string(r.Start)]; f.now == nil || f.now.list != nil {
			return fmt.Errorf("find shows %.300q, which was not asked for: %w", r.Start, shell.ErrIncomplete)
		}
		f.now.start(f.devices.preciseOf(r), attrs)
		return nil
	case f.now == nil || r.Depth != 1:
		return fmt.Errorf("find shows what lies %d folders deep: %w", r.Depth, shell.ErrIncomplete)
	case f.now.over():
		return nil
	}
	return f.now.add(f.devices.recordOf(r, attrs), r)
}

// start takes the folder itself. If it is another one than was listed before,
// under the same name or behind a link, nothing is known of the wanted one.
func (j *findJob) start(fine precise, attrs wire.Attrs) {
	j.list = &listing{self: attrs, fine: fine}
	if !notDir(attrs) && fine.file == j.dir.file {
		j.err = nil
	}
}

// over: there is no room for more of it, or it is another folder.
func (j *findJob) over() bool { return j.err != nil }

// add takes what is in the folder, while there is room.
func (j *findJob) add(rec record, r *shell.Record) error {
	if isDots(r.Name) {
		return fmt.Errorf("find shows dots: %w", shell.ErrIncomplete)
	}
	if err := checkName(j.dir.path, r.Name); err != nil {
		return err
	}
	before := j.list.size
	j.list.keep(&rec, r.Name, r.Target)
	j.list.append(rec)
	if grown := j.list.size - before; grown > 0 {
		j.err = j.charge(grown)
	}
	return nil
}
