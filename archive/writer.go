package archive

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/zstd"

	"xvault/archive/seal"
	"xvault/internal/entry"
	"xvault/internal/job"
)

// DefaultLevel is the compression level where the source says nothing else.
const DefaultLevel = 3

// WriterConfig says how an archive is written.
type WriterConfig struct {
	// Recipients are the age X25519 recipients that can open the artifact, at
	// least one.
	Recipients []string
	// Level is the compression level on zstd's scale, 1 to 22. Default 3.
	Level int
	// Budget bounds the memory; all archives of a process share one. By default
	// the archive has one of its own.
	Budget *Budget
}

// Writer writes one artifact. Entries come one after the other; Progress and
// Abort may be called from any goroutine. After an error the archive is over:
// what was written is no artifact. Every Writer must be closed or aborted, for
// goroutines and memory hang on it.
type Writer struct {
	sink *sink
	seal io.WriteCloser
	pipe *pipeline

	budget *Budget

	mu      sync.Mutex // held by whatever puts something in
	ended   bool
	tar     tarStream
	headers tarEncoder
	sum     hash.Hash
	part    []byte  // buffer for members of unknown length
	probe   [1]byte // for the byte behind the announced end
	held    *Entry  // the last entry, not yet in the index

	order   orderCheck
	summary Summary
	files   atomic.Int64
	bytes   atomic.Int64
}

// Outcome is what became of an entry's content.
type Outcome struct {
	Size   int64 // bytes stored, padding included
	SHA256 [32]byte
	Flags  entry.Flags
	// Err is why the content came short; nil unless Flags has Padded.
	Err error
}

// NewWriter begins an artifact on w, which gets the sealed bytes in order and
// from one goroutine at a time. It does not close w.
func NewWriter(w io.Writer, cfg WriterConfig) (*Writer, error) {
	if cfg.Level == 0 {
		cfg.Level = DefaultLevel
	}
	if cfg.Level < 1 || cfg.Level > 22 {
		return nil, fmt.Errorf("compression level %d is not between 1 and 22", cfg.Level)
	}
	budget := cfg.Budget
	if budget == nil {
		own, err := NewBudget(BudgetConfig{Writers: 1})
		if err != nil {
			return nil, err
		}
		budget = own
	}
	if err := budget.join(); err != nil {
		return nil, err
	}
	aw, err := newWriter(w, cfg, budget)
	if err != nil {
		budget.leave()
		return nil, err
	}
	return aw, nil
}

func newWriter(w io.Writer, cfg WriterConfig, budget *Budget) (*Writer, error) {
	encoder, err := budget.encoders(zstd.EncoderLevelFromZstd(cfg.Level))
	if err != nil {
		return nil, err
	}
	out := newSink(w)
	sealed, err := seal.NewWriter(out, cfg.Recipients...)
	if err != nil {
		return nil, err
	}
	aw := &Writer{
		sink: out, seal: sealed, budget: budget,
		pipe: newPipeline(sealed, budget, encoder),
		sum:  sha256.New(),
	}
	aw.tar = tarStream{pipe: aw.pipe, open: noFrame}
	return aw, nil
}

// Add stores an entry. Entries come in archive order; one out of order, with
// a malformed path or of a kind that is not stored is refused. Body gives the
// content of a file and keeps the contract of package entry; where it comes
// short in a way that the contract allows, the rest is zeros, the entry is
// flagged Padded and counted as an error, and Add succeeds. A body that ends
// early with a plain io.EOF counts as that, too. Every error ends the archive.
func (w *Writer) Add(ctx context.Context, h entry.Header, body io.Reader) (Outcome, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.begin(ctx, &h, checkHeader); err != nil {
		return Outcome{}, err
	}
	out, err := w.add(ctx, &h, body)
	if err != nil {
		w.pipe.fail(err)
		return Outcome{}, err
	}
	return out, nil
}

func (w *Writer) add(ctx context.Context, h *entry.Header, body io.Reader) (Outcome, error) {
	switch h.Kind {
	case entry.Dir, entry.Symlink, entry.Hardlink:
		return Outcome{}, w.addBare(ctx, h)
	case entry.File:
		if h.Size == entry.SizeUnknown {
			return w.addStream(ctx, h, body)
		}
		return w.addFile(ctx, h, body)
	default:
		return Outcome{}, fmt.Errorf("%s: an entry of kind %d cannot be stored", Escape(h.Path), h.Kind)
	}
}

// Skip notes a device, FIFO or socket: it is in the index and nowhere else.
func (w *Writer) Skip(h entry.Header) error {
	if h.Kind != entry.Device && h.Kind != entry.FIFO && h.Kind != entry.Socket {
		return fmt.Errorf("%s: only devices, FIFOs and sockets are skipped", Escape(h.Path))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.begin(context.Background(), &h, checkHeader); err != nil {
		return err
	}
	w.summary.Content.Skipped++
	w.held = newEntry(&h, entry.Skipped)
	return nil
}

// Unreadable notes an entry that exists but could not be read; it counts as an
// error. Directly after the Add of the same directory it says that the
// directory's contents could not be listed, or not for certain all of them.
func (w *Writer) Unreadable(h entry.Header, code job.Code, cause error) error {
	if !code.Valid() {
		return fmt.Errorf("%s: unknown error code: %w", Escape(h.Path), cause)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.held != nil && w.held.Kind == entry.Dir && w.held.Path == h.Path && w.held.Flags == 0 {
		if err := w.pipe.failure(); err != nil {
			return err
		}
	} else {
		h.LinkTarget = ""
		if err := w.begin(context.Background(), &h, checkUnread); err != nil {
			return err
		}
		w.held = newEntry(&h, 0)
	}
	w.held.Flags |= entry.Unreadable
	w.held.Code = code
	w.summary.problem(h.Path, code)
	return nil
}

// begin checks an entry's header and puts the one before it into the index.
func (w *Writer) begin(ctx context.Context, h *entry.Header, check func(*entry.Header) error) error {
	if err := w.pipe.failure(); err != nil {
		return err
	}
	if w.ended {
		return errClosed
	}
	err := context.Cause(ctx)
	if err == nil {
		err = check(h)
	}
	if err == nil {
		err = w.order.next(h.Path, h.Kind)
	}
	if err == nil {
		err = w.index(ctx)
	}
	if err != nil {
		w.pipe.fail(err)
	}
	return err
}

// index puts the held entry into the index.
func (w *Writer) index(ctx context.Context) error {
	if w.held == nil {
		return nil
	}
	e := w.held
	w.held = nil
	return w.tar.index(ctx, e)
}

// Progress tells how many files and bytes of content have been stored so far.
func (w *Writer) Progress() (files, bytes int64) { return w.files.Load(), w.bytes.Load() }

// Close completes the artifact and says what it holds. The artifact is whole
// only if Close returns no error; making the bytes durable is w's affair.
func (w *Writer) Close() (Summary, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		return Summary{}, cmp.Or(w.pipe.failure(), errClosed)
	}
	w.ended = true
	defer w.budget.leave()
	if err := w.finishTar(); err != nil {
		w.pipe.fail(err)
	}
	if err := w.pipe.drain(); err != nil {
		return Summary{}, err
	}
	if err := w.pipe.finish(w.tar.offset, w.tar.entries); err != nil {
		return Summary{}, err
	}
	if err := w.seal.Close(); err != nil {
		return Summary{}, fmt.Errorf("write archive: %w", err)
	}
	w.summary.SizeBytes, w.summary.SHA256 = w.sink.size, w.sink.sum()
	return w.summary, nil
}

func (w *Writer) finishTar() error {
	ctx := context.Background()
	if err := w.index(ctx); err != nil {
		return err
	}
	if err := w.tar.cut(ctx); err != nil {
		return err
	}
	if err := w.tar.flushIndex(ctx); err != nil {
		return err
	}
	if err := w.tar.write(ctx, endOfArchive[:]); err != nil {
		return err
	}
	return w.tar.cut(ctx)
}

// Abort ends an archive that is not to be completed. It may be called at any
// time, also after Close, and then does nothing. It waits for an Add that is
// reading from its body.
func (w *Writer) Abort() {
	w.pipe.fail(errAborted)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		return
	}
	w.ended = true
	_ = w.pipe.drain() // it says what was just put in
	w.budget.leave()
}

var (
	errClosed  = errors.New("the archive is closed")
	errAborted = errors.New("the archive was aborted")
)

// newEntry makes the index entry of a header.
func newEntry(h *entry.Header, flags entry.Flags) *Entry {
	sec, nsec := mtimeOf(h.ModTime)
	e := &Entry{
		Path: h.Path, Kind: h.Kind, Flags: flags, Mode: h.Mode & 0o7777,
		ModTime: time.Unix(sec, int64(nsec)),
	}
	if h.Kind == entry.Symlink || h.Kind == entry.Hardlink {
		e.LinkTarget = h.LinkTarget
	}
	return e
}
