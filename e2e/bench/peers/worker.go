package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/pprof"
	"time"

	"github.com/google/uuid"

	"xvault/archive"
	"xvault/archive/seal"
	"xvault/connectors"
	"xvault/connectors/registry"
	"xvault/internal/entry"
	"xvault/internal/heap"
	"xvault/internal/job"
	"xvault/internal/secret"
	"xvault/store/blob"
	"xvault/store/localfs"
)

// order is one backup to make. It comes over standard input, for it holds a key.
type order struct {
	Type      string `json:"type"`
	Host      string `json:"host"`
	Port      int    `json:"port"`
	User      string `json:"user"`
	Path      string `json:"path"`
	HostKey   string `json:"host_key"`
	Key       string `json:"key"` // PEM
	Recipient string `json:"recipient"`
	// Config is the whole configuration, and Password the secret, of a source that
	// is no server's files.
	Config   map[string]any `json:"config,omitempty"`
	Password string         `json:"password,omitempty"`
	Storage  string         `json:"storage"`
	// Profile is where a CPU profile goes; empty: none is made.
	Profile string `json:"profile,omitempty"`
}

// done is what the worker says in the end.
type done struct {
	Artifact string          `json:"artifact"` // its path
	Size     int64           `json:"size"`
	Content  archive.Content `json:"content"`
	Peak     int64           `json:"peak"`    // bytes of memory
	Written  int64           `json:"written"` // bytes to disks
}

// work is the data path of a worker, from the connection to the artifact in its
// place, durable: the same parts, put together in the same way, with nothing
// but hub and queue left out. It is a process of its own, so that its memory can be
// told.
func work(ctx context.Context, stdin io.Reader, stdout, stderr io.Writer) error {
	heap.ForArchives()
	var o order
	if err := json.NewDecoder(stdin).Decode(&o); err != nil {
		return fmt.Errorf("read order: %w", err)
	}
	log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	stop, err := profile(o.Profile)
	if err != nil {
		return err
	}
	d, err := o.backup(ctx, log)
	if err = errors.Join(err, stop()); err != nil {
		return err
	}
	if d.Peak, err = counter("/proc/self/status", "VmHWM"); err != nil {
		return err
	}
	d.Peak <<= 10
	if d.Written, err = counter("/proc/self/io", "write_bytes"); err != nil {
		log.Debug("bytes written cannot be told", "error", err)
	}
	return json.NewEncoder(stdout).Encode(d)
}

// profile writes where the time on processors goes, until stop is called.
func profile(path string) (stop func() error, err error) {
	if path == "" {
		return func() error { return nil }, nil
	}
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		return f.Close()
	}, nil
}

func (o *order) backup(ctx context.Context, log *slog.Logger) (_ done, err error) {
	source, err := o.open(log)
	if err != nil {
		return done{}, err
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	store, err := localfs.Open(localfs.Config{Base: o.Storage, Log: log})
	if err != nil {
		return done{}, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	key := blob.Key{TenantID: uuid.New(), SourceID: uuid.New(), SnapshotID: uuid.New()}
	staged, err := store.Stage(key)
	if err != nil {
		return done{}, err
	}
	defer func() { err = errors.Join(err, staged.Discard()) }()
	summary, err := o.seal(ctx, source, staged)
	if err != nil {
		return done{}, err
	}
	if !summary.Complete() {
		return done{}, fmt.Errorf("%d entries could not be read, the first: %v", summary.Content.Errors, summary.Problems[0])
	}
	files, err := o.describe(key, summary)
	if err != nil {
		return done{}, err
	}
	if err := staged.Commit(ctx, files); err != nil {
		return done{}, err
	}
	return done{
		Artifact: store.Location(key) + "/" + blob.Artifact, Size: summary.SizeBytes, Content: summary.Content,
	}, nil
}

func (o *order) open(log *slog.Logger) (connectors.Source, error) {
	kind, ok := registry.All().Lookup(o.Type)
	if !ok {
		return nil, fmt.Errorf("there is no source type %q", o.Type)
	}
	credential := job.Credential{Type: "private_key", PrivateKey: secret.New(o.Key)}
	raw, err := json.Marshal(map[string]any{
		"host": o.Host, "port": o.Port, "username": o.User, "paths": []string{o.Path}, "host_keys": []string{o.HostKey},
	})
	if o.Config != nil {
		credential = job.Credential{Type: "password", Password: secret.New(o.Password)}
		raw, err = json.Marshal(o.Config)
	}
	if err != nil {
		return nil, err
	}
	config, faults := kind.Validate(raw)
	if len(faults) > 0 {
		return nil, fmt.Errorf("configuration of the source: %v", faults)
	}
	return kind.Open(config, connectors.Env{
		Credential: credential,
		Dial:       connectors.NewDialer(connectors.DialerConfig{}),
		TempDir:    o.tempDir,
		Log:        log,
	})
}

// tempDir is beside the storage's own folders, and goes with all of it.
func (o *order) tempDir() (string, error) {
	dir := filepath.Join(o.Storage, ".temp")
	return dir, os.MkdirAll(dir, 0o700)
}

// workerSlots is how many jobs a worker is made for unless it is told otherwise.
const workerSlots = 4

func (o *order) seal(ctx context.Context, source connectors.Source, staged io.Writer) (archive.Summary, error) {
	budget, err := archive.NewBudget(archive.BudgetConfig{Writers: workerSlots})
	if err != nil {
		return archive.Summary{}, err
	}
	w, err := archive.NewWriter(staged, archive.WriterConfig{Recipients: []string{o.Recipient}, Budget: budget})
	if err != nil {
		return archive.Summary{}, err
	}
	defer w.Abort()
	if err := source.Read(ctx, func(item connectors.Item) error { return visit(ctx, w, item) }); err != nil {
		return archive.Summary{}, err
	}
	return w.Close()
}

func visit(ctx context.Context, w *archive.Writer, item connectors.Item) error {
	if item.Vanished {
		return fmt.Errorf("%s vanished", archive.Escape(item.Path))
	}
	if item.Err != nil {
		return item.Err
	}
	switch item.Kind {
	case entry.Device, entry.FIFO, entry.Socket:
		return w.Skip(item.Header)
	}
	stored, err := w.Add(ctx, item.Header, item.Body)
	return errors.Join(err, stored.Err)
}

// describe makes the two files beside the artifact.
func (o *order) describe(key blob.Key, s archive.Summary) (blob.Files, error) {
	m := &archive.Manifest{
		Format: archive.Format, TenantID: key.TenantID, SourceID: key.SourceID, SnapshotID: key.SnapshotID,
		JobID: uuid.New(), WorkerID: "bench", CreatedAt: time.Now().UTC(),
		Artifact:    archive.Artifact{Name: blob.Artifact, SizeBytes: s.SizeBytes, SHA256: s.SHA256},
		Content:     s.Content,
		Compression: archive.Compression{Algorithm: "zstd", Level: archive.DefaultLevel},
		Encryption:  archive.Encryption{Algorithm: seal.Algorithm, Recipients: []string{o.Recipient}, KeyID: uuid.New()},
		Source:      archive.SourceInfo{Type: o.Type, ConnectorVersion: "bench"},
		Tool:        archive.Tool{Name: "xvault", Version: "bench"},
	}
	manifest, err := m.Encode()
	if err != nil {
		return blob.Files{}, err
	}
	about := m.Meta()
	meta, err := about.Encode()
	return blob.Files{Size: s.SizeBytes, SHA256: s.SHA256, Manifest: manifest, Meta: meta}, err
}

// backup lets the worker make one backup, as a contender does.
func (l *lab) backup(ctx context.Context, o order) (usage, done, error) {
	if l.opts.profile != "" {
		o.Profile = filepath.Join(l.opts.profile, fmt.Sprintf("%s-%s-%d.pprof", o.Type, filepath.Base(o.Path), time.Now().UnixMilli()))
	}
	raw, err := json.Marshal(o)
	if err != nil {
		return usage{}, done{}, err
	}
	if err := os.MkdirAll(o.Storage, 0o700); err != nil {
		return usage{}, done{}, err
	}
	u, err := l.measure(ctx, command{argv: []string{l.self, workerArg}, dir: o.Storage, stdin: raw})
	if err != nil {
		return u, done{}, err
	}
	var d done
	if err := json.Unmarshal(u.output, &d); err != nil {
		return u, d, fmt.Errorf("read the worker's answer: %w", err)
	}
	u.Size, u.Peak, u.Written = d.Size, d.Peak, d.Written
	return u, d, nil
}
