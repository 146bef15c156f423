package download_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"xvault/archive"
	"xvault/archive/seal"
	"xvault/internal/entry"
	"xvault/internal/job"
	"xvault/internal/secret"
	"xvault/internal/testenv"
	"xvault/internal/ticket"
	"xvault/store/blob"
	"xvault/store/localfs"
	"xvault/worker/download"
	"xvault/worker/hubclient"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// desk is a worker's listener over real HTTP with a real storage, and a hub that
// does what a test says.
type desk struct {
	t         *testing.T
	url       string
	public    ed25519.PublicKey
	private   ed25519.PrivateKey
	worker    secret.Text // its identity
	recipient string
	store     *localfs.FS
	base      string
	log       *logBuffer

	mu       sync.Mutex
	good     map[uuid.UUID]job.RedeemResponse // by ticket
	refusal  error
	redeemed int
}

func newDesk(t *testing.T, change func(*download.Config)) *desk {
	t.Helper()
	d := &desk{t: t, good: map[uuid.UUID]job.RedeemResponse{}, base: filepath.Join(t.TempDir(), "storage"), log: &logBuffer{}}
	var err error
	d.public, d.private, err = ed25519.GenerateKey(nil)
	d.must(err)
	d.worker, d.recipient, err = seal.NewIdentity()
	d.must(err)
	d.store, err = localfs.Open(localfs.Config{Base: d.base})
	d.must(err)
	t.Cleanup(func() { d.must(d.store.Close()) })
	cfg := download.Config{
		WorkerID: "w1", Identity: d.worker, Keys: func() []ed25519.PublicKey { return []ed25519.PublicKey{d.public} },
		Redeem: d.redeem, Store: func() (blob.Store, error) { return d.store, nil },
		Log: slog.New(slog.NewTextHandler(d.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	if change != nil {
		change(&cfg)
	}
	server := httptest.NewServer(download.New(cfg))
	t.Cleanup(server.Close)
	d.url = server.URL
	return d
}

func (d *desk) must(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
}

func (d *desk) redeem(_ context.Context, req job.RedeemRequest) (job.RedeemResponse, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.redeemed++
	if d.refusal != nil {
		return job.RedeemResponse{}, d.refusal
	}
	t, err := ticket.Open([]ed25519.PublicKey{d.public}, req.Ticket)
	if err != nil {
		return job.RedeemResponse{}, &hubclient.Error{Status: 404, Code: job.RefusedTicketUnknown}
	}
	return d.good[t.ID], nil
}

// item is an entry of a snapshot.
type item struct {
	path, content string
	kind          entry.Kind
	link          string
}

var items = []item{
	{path: "home", kind: entry.Dir},
	{path: "home/a.txt", content: "content of a"},
	{path: "home/big.bin", content: strings.Repeat("0123456789abcdef", 1<<19)}, // 8 MiB
	{path: "home/link", kind: entry.Symlink, link: "a.txt"},
	{path: "home/sub", kind: entry.Dir},
	{path: "home/sub/deep.txt", content: "deep"},
	{path: "home/\xff", content: "not UTF-8"},
	{path: "srv/x", content: "x"},
}

// snapshot is a stored one.
type snapshot struct {
	key       blob.Key
	record    job.ClaimSnapshot
	sealed    []byte // the tenant's identity, sealed to the worker
	plaintext []byte // the tar stream
}

func (d *desk) snapshot() snapshot {
	d.t.Helper()
	identity, recipient, err := seal.NewIdentity()
	d.must(err)
	var buf bytes.Buffer
	w, err := archive.NewWriter(&buf, archive.WriterConfig{Recipients: []string{recipient}})
	d.must(err)
	defer w.Abort()
	for _, it := range items {
		h := entry.Header{Path: it.path, Kind: it.kind, Mode: 0o644, ModTime: time.Unix(1_700_000_000, 0), LinkTarget: it.link, Size: int64(len(it.content))}
		if h.Kind == 0 {
			h.Kind = entry.File
		}
		_, err := w.Add(d.t.Context(), h, strings.NewReader(it.content))
		d.must(err)
	}
	_, err = w.Close()
	d.must(err)
	s := snapshot{key: blob.Key{TenantID: uuid.New(), SourceID: uuid.New(), SnapshotID: uuid.New()}}
	s.put(d, buf.Bytes())
	s.record = job.ClaimSnapshot{SizeBytes: int64(buf.Len()), SHA256: sum(buf.Bytes()), Recipient: recipient}
	s.sealed, err = seal.Message(d.recipient, []byte(identity.Reveal()))
	d.must(err)
	r, err := archive.Open(bytes.NewReader(buf.Bytes()), int64(buf.Len()), identity)
	d.must(err)
	var tar bytes.Buffer
	d.must(r.WriteTarRange(d.t.Context(), &tar, 0, r.TarSize()))
	s.plaintext = tar.Bytes()
	return s
}

func (s *snapshot) put(d *desk, artifact []byte) {
	d.t.Helper()
	staged, err := d.store.Stage(s.key)
	d.must(err)
	_, err = staged.Write(artifact)
	d.must(err)
	d.must(staged.Commit(d.t.Context(), blob.Files{Size: int64(len(artifact)), SHA256: sum(artifact), Manifest: []byte("{}"), Meta: []byte("{}")}))
}

// artifact is the file of a snapshot.
func (d *desk) artifact(s snapshot) string {
	return filepath.Join(d.base, filepath.FromSlash(s.key.Prefix()), blob.Artifact)
}

func sum(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

// ticketFor makes the address of a download.
func (d *desk) ticketFor(s snapshot, p job.RestorePayload) string {
	d.t.Helper()
	if p.Format == "" {
		p.Format = job.FormatTar
	}
	t := ticket.Ticket{ID: uuid.New(), Kind: ticket.Download, Subject: uuid.New(), Worker: "w1", Selection: ticket.Select(p), Expires: time.Now().Add(time.Hour)}
	d.allow(t.ID, s, p)
	return d.address("download", t)
}

func (d *desk) filesTicket(s snapshot) string {
	d.t.Helper()
	t := ticket.Ticket{ID: uuid.New(), Kind: ticket.Files, Subject: s.key.SnapshotID, Worker: "w1", Expires: time.Now().Add(time.Hour)}
	d.allow(t.ID, s, job.RestorePayload{})
	return d.address("files", t)
}

func (d *desk) allow(id uuid.UUID, s snapshot, p job.RestorePayload) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.good[id] = job.RedeemResponse{
		TenantID: s.key.TenantID, SourceID: s.key.SourceID, SnapshotID: s.key.SnapshotID, Snapshot: s.record, Restore: p, SealedIdentity: s.sealed,
	}
}

func (d *desk) address(call string, t ticket.Ticket) string {
	return d.url + "/" + call + "/" + t.Subject.String() + "?ticket=" + url.QueryEscape(ticket.Sign(d.private, t))
}

type answer struct {
	*http.Response
	body []byte
	err  error // of reading the body
}

func (d *desk) get(address string, headers ...string) answer {
	d.t.Helper()
	return d.send(http.MethodGet, address, headers...)
}

func (d *desk) send(method, address string, headers ...string) answer {
	d.t.Helper()
	req, err := http.NewRequestWithContext(d.t.Context(), method, address, nil)
	d.must(err)
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	d.must(err)
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	return answer{resp, body, err}
}

// refused expects a problem, in the one shape that all of them have.
func (d *desk) refused(a answer, status int, code string) {
	d.t.Helper()
	var p map[string]any
	if err := json.Unmarshal(a.body, &p); err != nil || a.StatusCode != status || p["code"] != code || p["status"] != float64(status) ||
		len(p) != 4 || a.Header.Get("Content-Type") != "application/problem+json" {
		d.t.Errorf("%d %s, want %d %s", a.StatusCode, a.body, status, code)
	}
}

// logBuffer collects log lines from many goroutines.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
