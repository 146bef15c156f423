package archive

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"xvault/internal/entry"
)

const (
	// maxSmallFile is the content that is handed to the crew; more is written
	// as it is read.
	maxSmallFile = 256 << 10
	// crewFiles is how many files may be on their way, with their content.
	crewFiles = 32
)

// crew checks and writes small files while the one goroutine that extracts
// reads on: most of a restore is made of them, and of system calls.
type crew struct {
	target *target
	free   chan *smallFile
	work   chan *smallFile

	members sync.WaitGroup
	pending sync.WaitGroup // files on their way

	failed  atomic.Bool
	mu      sync.Mutex
	err     error // the first
	content Content
}

// smallFile is one file with its content.
type smallFile struct {
	path    string // to be written at; not the entry's where a link is followed
	entry   Entry
	attr    attributes
	content []byte

	in   *place
	done func()
}

func newCrew(t *target) *crew {
	c := &crew{target: t, free: make(chan *smallFile, crewFiles), work: make(chan *smallFile, crewFiles)}
	for range crewFiles {
		c.free <- &smallFile{}
	}
	for range max(2, min(runtime.GOMAXPROCS(0), 8)) {
		c.members.Go(c.run)
	}
	return c
}

// get waits for room for a file. It goes back by write or by put.
func (c *crew) get() *smallFile { return <-c.free }

func (c *crew) put(f *smallFile) { c.free <- f }

// write hands a file over. If it fails, the file is still the caller's.
func (c *crew) write(f *smallFile) (err error) {
	if f.in, f.done, err = c.target.handOut(f.path); err != nil {
		return err
	}
	c.pending.Add(1)
	c.work <- f // there is always room
	return nil
}

// settle waits until everything handed over is written.
func (c *crew) settle() { c.pending.Wait() }

// stop ends the crew. Nothing may be handed over any more.
func (c *crew) stop() {
	close(c.work)
	c.members.Wait()
}

// failure is the first failure, nil while there is none.
func (c *crew) failure() error {
	if !c.failed.Load() {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

func (c *crew) run() {
	// What was handed over is finished after a failure as well: it is whole, and
	// came before what failed or stands beside it.
	for f := range c.work {
		c.finish(f, f.write(c.target))
		f.done()
		f.in, f.done = nil, nil
		c.put(f)
		c.pending.Done()
	}
}

func (c *crew) finish(f *smallFile, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		c.content.Files++
		c.content.Bytes += f.entry.Size
		if f.entry.Flags&entry.ChangedWhileRead != 0 {
			c.content.ChangedWhileRead++
		}
		return
	}
	if c.err == nil {
		c.err = fmt.Errorf("extract %s: %w", Escape(f.path), err)
		c.failed.Store(true)
	}
}

// read takes the content of a member, without looking at its hash.
func (f *smallFile) read(m *member) error {
	m.sum = nil
	f.content = slices.Grow(f.content[:0], int(m.e.Size))[:m.e.Size]
	_, err := io.ReadFull(m, f.content)
	return err
}

// write makes the file, if the content is what it should be.
func (f *smallFile) write(t *target) error {
	if sha256.Sum256(f.content) != f.entry.SHA256 {
		return f.entry.wrongHash()
	}
	name := baseOf(f.path)
	file, err := f.in.create(name)
	if err != nil {
		return err
	}
	if err := errors.Join(f.fill(file, t), file.Close()); err != nil {
		return errors.Join(err, f.in.root.Remove(name))
	}
	return f.in.times(name, f.attr.mtime)
}

func (f *smallFile) fill(file *os.File, t *target) error {
	if len(f.content) > 0 {
		if _, err := file.Write(f.content); err != nil {
			return err
		}
	}
	return t.attach(file, f.attr)
}
