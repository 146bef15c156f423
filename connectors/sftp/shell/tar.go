package shell

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"time"
)

// Tar is one tar on the server, which sends the content of files as they are
// asked for, in that order.
//
// What tar says on its error output is not in step with what it sends. To know that
// nothing more is said about a batch, the last name of each is one that cannot
// exist and holds the marker: tar complains of it as well, and does so after all
// that it has to say about the batch's files.
//
// Tar sends its output in records and holds back the last one until it is full.
// Who needs a file that is in it calls Hurry, which asks for the root folder as often
// as fills a record; what comes of that is thrown away.
type Tar struct {
	// Tool is what tar calls itself; valid once StartTar has returned.
	Tool string

	p       *process
	in      *bufio.Reader
	running sync.WaitGroup
	buffers buffers
	wake    chan struct{} // there is something to send

	mu      sync.Mutex
	out     []byte          // names to send
	closing bool            // nothing more comes after them
	queue   queue           // what tar is to send next
	sealed  queue           // the batches whose last word is still to be heard, in order
	open    map[*Batch]bool // batches that are not settled
	asked   int64           // bytes of output that were asked for
	batches int
	err     error // why it is over
	over    bool
}

// item is something that tar was asked for: a file, or the filling of a record.
type item struct {
	batch *Batch
	want  *Want // nil for filling
}

// StartTar starts a tar. It returns once tar is found there, or with the reason why
// not. The context is of the start alone.
func StartTar(ctx context.Context, conn Opener) (*Tar, error) {
	p, err := run(conn, commandTar)
	if err != nil {
		return nil, err
	}
	defer context.AfterFunc(ctx, p.stop)()
	t := newTar(p)
	if err := t.find(); err != nil {
		p.stop()
		p.requests.Wait()
		return nil, err
	}
	said := p.said()
	t.start(func() {
		if _, err := p.skipNoise(said); err != nil {
			p.stop()
		}
		t.listen(said)
	})
	return t, nil
}

func newTar(p *process) *Tar {
	return &Tar{p: p, in: bufio.NewReaderSize(output{p, p.Channel}, 128<<10), wake: make(chan struct{}, 1), open: map[*Batch]bool{}}
}

// find waits until tar tells what it calls itself.
func (t *Tar) find() error {
	words, err := t.p.skipNoise(t.in)
	if err == nil {
		t.Tool, err = isGNU(words, "tar")
	}
	if err == nil {
		err = knowsOptions(t.Tool)
	}
	return err
}

// start begins to use a tar; listen ends with what it says.
func (t *Tar) start(listen func()) {
	stop, listened := make(chan struct{}), make(chan struct{})
	t.running.Go(func() { t.send(stop) })
	t.running.Go(func() {
		defer close(stop)
		err := t.receive()
		if err == nil {
			<-listened // its last words may prove files good
		}
		t.end(err)
	})
	t.running.Go(func() {
		defer close(listened)
		listen()
	})
}

// knowsOptions: --verbatim-files-from came with version 1.29.
func knowsOptions(tool string) error {
	var major, minor int
	if n, err := fmt.Sscanf(tool, "GNU tar %d.%d", &major, &minor); n < 2 || err != nil || major < 1 || major == 1 && minor < 29 {
		return fmt.Errorf("%.40q is older than 1.29: %w", tool, ErrUnfit)
	}
	return nil
}

// Add asks for a file as part of a batch; false if the tar is over or the batch is
// sealed, and nothing changed.
func (t *Tar) Add(b *Batch, w *Want) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over || t.closing || b.sealed {
		return false
	}
	if len(b.Wants) == 0 {
		t.open[b] = true
	}
	b.Wants = append(b.Wants, w)
	t.queue.push(item{b, w})
	t.asked += block + padded(w.Size)
	b.bytes, b.upTo = b.bytes+w.Size, t.asked
	t.ask(w.Path)
	return true
}

// Seal ends a batch.
func (t *Tar) Seal(b *Batch) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.seal(b)
}

func (t *Tar) seal(b *Batch) {
	if b.sealed || t.over || t.closing {
		return
	}
	b.sealed, b.number = true, t.batches
	t.batches++
	t.sealed.push(item{batch: b})
	t.ask(t.lastWord(b.number))
}

// lastWord is the name that ends a batch. Nothing lies below a device.
func (t *Tar) lastWord(number int) string {
	return "/dev/null/" + t.p.marker + "." + strconv.Itoa(number)
}

// Hurry makes a batch come to its end: it is sealed, and tar is made to send what
// it holds back.
func (t *Tar) Hurry(b *Batch, again bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.seal(b)
	if t.over || t.closing || !again && t.asked >= b.upTo+record {
		return
	}
	for range blocking {
		t.queue.push(item{})
		t.ask("/")
	}
	t.asked += record
}

// Unsaid reports whether all of a batch came and only tar's last word about it is
// missing.
func (t *Tar) Unsaid(b *Batch) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return b.sealed && !b.told && b.settled == len(b.Wants)
}

// Idle reports whether the tar would hold a batch back unless it is hurried.
func (t *Tar) Idle(b *Batch) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return !b.sealed || !t.closing && t.asked < b.upTo+record
}

// ask sends a name. Called with the lock held.
func (t *Tar) ask(name string) {
	t.out = append(append(t.out, name...), 0)
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// Finish says that no more files are wanted.
func (t *Tar) Finish() {
	t.mu.Lock()
	for b := range t.open {
		t.seal(b)
	}
	t.closing = true
	t.mu.Unlock()
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// Stop ends the tar at once; what was asked for does not come.
func (t *Tar) Stop() { t.p.stop() }

// Wait waits until nothing of the tar runs, which needs the server to end it, or
// the connection to end.
func (t *Tar) Wait() {
	t.running.Wait()
	t.p.requests.Wait()
}

// Over reports whether no more files can be asked for.
func (t *Tar) Over() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.over || t.closing
}

// Received is how many bytes it sent.
func (t *Tar) Received() int64 { return t.p.received.Load() }

// Silent is for how long nothing was heard of it, which means something only while
// somebody waits for a batch and hurries it.
func (t *Tar) Silent() time.Duration { return t.p.silent() }

// Err is why the tar is over; nil if it is not, or came to its proper end.
func (t *Tar) Err() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err
}

// send writes names until there are no more.
func (t *Tar) send(stop <-chan struct{}) {
	var batch []byte
	for {
		select {
		case <-stop:
			return
		case <-t.wake:
		}
		t.mu.Lock()
		batch, t.out = t.out, batch[:0]
		last := t.closing
		t.mu.Unlock()
		if len(batch) > 0 {
			if _, err := t.p.Write(batch); err != nil {
				t.p.stop() // the receiving side ends
				return
			}
		}
		if last {
			if err := t.p.CloseWrite(); err != nil {
				t.p.stop()
			}
			return
		}
	}
}

// receive takes what tar sends until it ends.
func (t *Tar) receive() error {
	m := members{in: t.in}
	for {
		if err := m.next(); err != nil {
			if errors.Is(err, io.EOF) {
				return t.ended(t.in)
			}
			return err
		}
		var err error
		switch {
		case m.typ == typeDir && string(m.name) == "/":
			err = t.filled()
		default:
			err = t.came(&m)
		}
		if err != nil {
			return err
		}
	}
}

// ended is the end of the archive: files that did not come by then do not come.
func (t *Tar) ended(in io.Reader) error {
	if n, err := io.CopyN(io.Discard, in, record+1); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: %d bytes and more behind its end", errStream, n)
	}
	t.mu.Lock()
	if !t.closing {
		t.mu.Unlock()
		return fmt.Errorf("%w: it ends before it was told to", errStream)
	}
	var done []*Batch
	for t.queue.len() > 0 {
		if it := t.queue.pop(); it.want != nil {
			it.batch.absent++
			done = t.count(it.batch, done)
		}
	}
	t.mu.Unlock()
	t.settle(done)
	return nil
}

// maxGrown is how much more than expected a file may have that is passed over;
// it costs less than another tar.
const maxGrown = 16 << 20

// came takes one member.
func (t *Tar) came(m *members) error {
	name := m.name
	if m.typ == typeDir {
		name = bytes.TrimSuffix(name, []byte{'/'})
	}
	it, done, err := t.expect(name)
	t.settle(done)
	if err != nil {
		return err
	}
	w := it.want
	if m.size > w.Size+maxGrown {
		return fmt.Errorf("%w: %d bytes of a file of %d", errStream, m.size, w.Size)
	}
	good := m.typ == typeFile && m.size == w.Size && m.mtime == w.ModTime
	if good {
		t.mu.Lock()
		w.Data = t.buffers.take(it.batch, w.Size)
		t.mu.Unlock()
		if err := m.content(w.Data); err != nil {
			return err
		}
		w.Good = true
	}
	t.mu.Lock()
	done = t.count(it.batch, nil)
	t.mu.Unlock()
	t.settle(done)
	return nil
}

// expect finds the file that a member is. Those before it do not come any more.
func (t *Tar) expect(name []byte) (item, []*Batch, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var done []*Batch
	for t.queue.len() > 0 {
		it := t.queue.pop()
		switch {
		case it.want == nil:
			return it, done, fmt.Errorf("%w: a member before it is due: %.200q", errStream, name)
		case it.want.Path == string(name):
			return it, done, nil
		}
		it.batch.absent++
		done = t.count(it.batch, done)
	}
	return item{}, done, fmt.Errorf("%w: a member that was not asked for: %.200q", errStream, name)
}

// filled takes a member that fills a record.
func (t *Tar) filled() error {
	t.mu.Lock()
	var done []*Batch
	found := false
	for t.queue.len() > 0 && !found {
		it := t.queue.pop()
		if found = it.want == nil; !found {
			it.batch.absent++
			done = t.count(it.batch, done)
		}
	}
	t.mu.Unlock()
	t.settle(done)
	if !found {
		return fmt.Errorf("%w: a folder that was not asked for", errStream)
	}
	return nil
}

// count notes one more settled file. Called with the lock held.
func (t *Tar) count(b *Batch, done []*Batch) []*Batch {
	b.settled++
	return t.completed(b, done)
}

func (t *Tar) completed(b *Batch, done []*Batch) []*Batch {
	if !b.complete() {
		return done
	}
	delete(t.open, b)
	return append(done, b)
}

// settle ends batches that are complete. Called without the lock.
func (t *Tar) settle(done []*Batch) {
	for _, b := range done {
		b.judge()
		b.Settled(b)
		close(b.Done)
	}
}

// end settles everything that did not come.
func (t *Tar) end(err error) {
	t.p.stop()
	t.mu.Lock()
	t.over, t.err = true, err
	open := t.open
	t.open, t.queue, t.sealed, t.out = nil, queue{}, queue{}, nil
	t.mu.Unlock()
	for b := range open {
		b.spoil()
		b.Settled(b)
		close(b.Done)
	}
}
