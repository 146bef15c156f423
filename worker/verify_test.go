package worker

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"xvault/archive/seal"
	"xvault/internal/job"
	"xvault/internal/secret"
	"xvault/internal/testenv"
	"xvault/store/blob"
)

// sealedSnapshot is a stored snapshot and the identity that opens it.
type sealedSnapshot struct {
	backup   *job.Claim
	record   job.SnapshotRecord
	identity secret.Text
	dir      string
}

// sealed makes a snapshot by a backup. Its artifact has several chunks.
func (l *lab) sealed() sealedSnapshot {
	l.t.Helper()
	noise := make([]byte, 300_000)
	r := rand.New(rand.NewPCG(1, uint64(l.seq)))
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	l.source.items = append(smallTree(), file("srv/noise", string(noise)))
	identity, recipient, err := seal.NewIdentity()
	if err != nil {
		l.t.Fatal(err)
	}
	backup := l.hub.addJob(job.Backup)
	backup.TenantKey.PublicKey = recipient
	done := l.delivered(backup)
	if done.Snapshot == nil {
		l.t.Fatalf("nothing was stored: %+v", done.Error)
	}
	return sealedSnapshot{backup, *done.Snapshot, identity, l.snapshotDir(backup)}
}

// verification is the job that verifies it.
func (l *lab) verification(s sealedSnapshot, kind job.VerifyKind) *job.Claim {
	l.t.Helper()
	payload, err := json.Marshal(job.VerifyPayload{Kind: kind, StorageID: l.worker.storage.id()})
	if err != nil {
		l.t.Fatal(err)
	}
	c := l.hub.addJob(job.Verify)
	c.TenantID, c.Source, c.SnapshotID, c.TenantKey, c.Payload = s.backup.TenantID, s.backup.Source, s.backup.SnapshotID, nil, payload
	c.Snapshot = &job.ClaimSnapshot{SizeBytes: s.record.SizeBytes, SHA256: s.record.SHA256, Recipient: s.record.Recipient, Manifest: s.record.Manifest}
	if kind.Opens() {
		if c.SealedIdentity, err = seal.Message(l.worker.recipient, []byte(s.identity.Reveal())); err != nil {
			l.t.Fatal(err)
		}
	}
	return c
}

// verified has it verified, and gives what was reported.
func (l *lab) verified(s sealedSnapshot, kind job.VerifyKind) (job.CompleteRequest, job.VerifyResult) {
	l.t.Helper()
	done := l.delivered(l.verification(s, kind))
	var result job.VerifyResult
	if len(done.Result) > 0 {
		result = decode[job.VerifyResult](l.t, done.Result)
	}
	return done, result
}

func (l *lab) wantWhole(what string, s sealedSnapshot) {
	l.t.Helper()
	for _, kind := range []job.VerifyKind{job.VerifyQuick, job.VerifyFull} {
		done, r := l.verified(s, kind)
		if done.Status != job.Completed || !r.OK || r.Kind != kind || r.SizeBytes != s.record.SizeBytes || r.Code != "" {
			l.t.Errorf("%s: %s: %s %+v, %+v", what, kind, done.Status, done.Error, r)
		}
		if wantFiles := int64(3); kind == job.VerifyFull && (r.Files != wantFiles || r.Bytes != 300_010) {
			l.t.Errorf("%s: %d files, %d bytes", what, r.Files, r.Bytes)
		}
	}
}

func (l *lab) wantDamaged(what string, s sealedSnapshot, code job.Code) {
	l.t.Helper()
	for _, kind := range []job.VerifyKind{job.VerifyQuick, job.VerifyFull} {
		done, r := l.verified(s, kind)
		if done.Status != job.Failed || done.Error.Code != code || r.OK || r.Code != code || r.Problem == "" || r.Kind != kind {
			l.t.Errorf("%s: %s: %s %+v, %+v", what, kind, done.Status, done.Error, r)
		}
	}
}

// change replaces a file's content, and gives back what puts it right.
func change(t *testing.T, path string, by func([]byte) []byte) func() {
	t.Helper()
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	write := func(b []byte) {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if after := by(bytes.Clone(before)); after != nil {
		write(after)
	} else if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	return func() { write(before) }
}

// flipped and cut make damages; removed a missing file.
func flipped(at int) func([]byte) []byte {
	return func(b []byte) []byte {
		b[(at+len(b))%len(b)] ^= 0x04
		return b
	}
}

func cut(n int) func([]byte) []byte {
	return func(b []byte) []byte { return slices.Delete(b, (n+len(b))%len(b), (n+len(b))%len(b)+1) }
}

func removed([]byte) []byte { return nil }

// TestVerifyFindsEveryDamage: bytes flipped and cut in the header, in the first, a
// middle and the last chunk and in the files beside; files that are missing; two
// tenants' artifacts, swapped. What is not damaged passes, before and after.
func TestVerifyFindsEveryDamage(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.start()
	one, two := l.sealed(), l.sealed()
	l.wantWhole("as it was stored", one)
	size := int(one.record.SizeBytes)
	for name, places := range map[string][]int{
		blob.Artifact: {0, 40, 170, 230, 5000, size / 2, size - 70_000, -20, -1},
		blob.Manifest: {0, 3, 40, 200, -3, -2, -1},
		blob.Meta:     {0, 3, 40, 200, -3, -2, -1},
	} {
		for _, at := range places {
			for how, damage := range map[string]func([]byte) []byte{"flipped": flipped(at), "cut": cut(at)} {
				mend := change(t, filepath.Join(one.dir, name), damage)
				l.wantDamaged(fmt.Sprintf("%s: byte %d %s", name, at, how), one, job.ArtifactCorrupt)
				mend()
			}
		}
	}
	for name, code := range map[string]job.Code{blob.Artifact: job.ArtifactMissing, blob.Manifest: job.ArtifactCorrupt, blob.Meta: job.ArtifactCorrupt} {
		mend := change(t, filepath.Join(one.dir, name), removed)
		l.wantDamaged(name+" is missing", one, code)
		mend()
	}
	for _, files := range [][]string{{blob.Artifact}, {blob.Manifest}, {blob.Meta}, {blob.Artifact, blob.Manifest, blob.Meta}} {
		swap(t, one.dir, two.dir, files...)
		l.wantDamaged(fmt.Sprintf("swapped %v", files), one, job.ArtifactCorrupt)
		l.wantDamaged(fmt.Sprintf("swapped %v", files), two, job.ArtifactCorrupt)
		swap(t, one.dir, two.dir, files...)
	}
	if err := os.Rename(one.dir, one.dir+"-away"); err != nil {
		t.Fatal(err)
	}
	l.wantDamaged("the folder is missing", one, job.ArtifactMissing)
	if err := os.Rename(one.dir+"-away", one.dir); err != nil {
		t.Fatal(err)
	}
	l.wantWhole("mended", one)
	l.wantWhole("mended", two)
}

func swap(t *testing.T, a, b string, files ...string) {
	t.Helper()
	for _, name := range files {
		for _, move := range [][2]string{{a, "x"}, {b, a}, {"x", b}} {
			from, to := filepath.Join(move[0], name), filepath.Join(move[1], name)
			if move[0] == "x" {
				from = filepath.Join(a, name+".x")
			}
			if move[1] == "x" {
				to = filepath.Join(a, name+".x")
			}
			if err := os.Rename(from, to); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestVerifyWritesNothing, in plain or otherwise, and needs the tenant's identity
// for nothing but a full one.
func TestVerifyWritesNothing(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.start()
	s := l.sealed()
	root := filepath.Dir(l.cfg.StorageBase)
	before := files(t, root)
	l.wantWhole("", s)
	if after := files(t, root); !slices.Equal(before, after) {
		t.Errorf("before: %v\nafter: %v", before, after)
	}
	if strings.Contains(l.log.String(), s.identity.Reveal()) {
		t.Error("the identity is in the log")
	}
	c := l.verification(s, job.VerifyFull)
	c.SealedIdentity = nil
	if done := l.delivered(c); done.Status != job.Failed || done.Error.Code != job.ConfigInvalid {
		t.Errorf("full without an identity: %+v", done.Error)
	}
	c = l.verification(s, "polish")
	if done := l.delivered(c); done.Status != job.Failed || done.Error.Code != job.ConfigInvalid {
		t.Errorf("a kind that it does not know: %+v", done.Error)
	}
}

func files(t *testing.T, root string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			found = append(found, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// faultyStore is a storage whose artifacts are read through read.
type faultyStore struct {
	blob.Store
	read func(blob.Object, []byte, int64) (int, error)
}

type faultyObject struct {
	blob.Object
	read func(blob.Object, []byte, int64) (int, error)
}

func (s *faultyStore) Open(ctx context.Context, key blob.Key) (blob.Object, error) {
	o, err := s.Store.Open(ctx, key)
	if err != nil {
		return nil, err
	}
	return faultyObject{o, s.read}, nil
}

func (o faultyObject) ReadAt(p []byte, off int64) (int, error) { return o.read(o.Object, p, off) }

// TestVerifyProvesNothing where the storage is not there, not the right one, or
// cannot be read: the hub hears of a storage that failed, and tries again.
func TestVerifyProvesNothing(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		prepare func(l *lab, s sealedSnapshot, c *job.Claim)
		read    func(l *lab) func(blob.Object, []byte, int64) (int, error)
	}{
		{name: "another storage", prepare: func(l *lab, _ sealedSnapshot, c *job.Claim) {
			c.Payload = []byte(fmt.Sprintf(`{"kind":%q,"storage_id":%q}`, job.VerifyQuick, uuid.New()))
		}},
		{name: "replaced before", prepare: func(l *lab, _ sealedSnapshot, _ *job.Claim) { l.replaceStorage() }},
		{name: "a folder that may not be entered", prepare: func(l *lab, s sealedSnapshot, _ *job.Claim) {
			if err := os.Remove(filepath.Join(s.dir, blob.Artifact)); err != nil {
				l.t.Fatal(err)
			}
			if err := os.Symlink(blob.Artifact, filepath.Join(s.dir, blob.Artifact)); err != nil {
				l.t.Fatal(err)
			}
		}},
		{name: "a read error", read: func(*lab) func(blob.Object, []byte, int64) (int, error) {
			return func(o blob.Object, p []byte, off int64) (int, error) {
				if off > 100_000 || off+int64(len(p)) > 100_000 {
					return 0, &blob.Error{Op: "read artifact", Err: syscall.EIO}
				}
				return o.ReadAt(p, off)
			}
		}},
		{name: "other bytes the first time", read: func(*lab) func(blob.Object, []byte, int64) (int, error) {
			var first atomic.Bool
			return func(o blob.Object, p []byte, off int64) (int, error) {
				n, err := o.ReadAt(p, off)
				if n > 0 && first.CompareAndSwap(false, true) {
					p[n/2] ^= 1
				}
				return n, err
			}
		}},
		{name: "taken away while it is read", read: func(l *lab) func(blob.Object, []byte, int64) (int, error) {
			var first atomic.Bool
			return func(o blob.Object, p []byte, off int64) (int, error) {
				n, err := o.ReadAt(p, off)
				if n > 0 && first.CompareAndSwap(false, true) {
					l.replaceStorage()
				}
				clear(p[:n])
				return n, err
			}
		}},
	}
	for _, tt := range tests {
		for _, kind := range []job.VerifyKind{job.VerifyQuick, job.VerifyFull} {
			if tt.name == "another storage" && kind == job.VerifyFull {
				continue
			}
			t.Run(tt.name+"/"+string(kind), func(t *testing.T) {
				t.Parallel()
				l := newLab(t)
				l.quietHeart()
				l.start()
				s := l.sealed()
				c := l.verification(s, kind)
				if tt.prepare != nil {
					tt.prepare(l, s, c)
				}
				if tt.read != nil {
					l.worker.storage.mu.Lock()
					l.worker.storage.store = &faultyStore{l.worker.storage.store, tt.read(l)}
					l.worker.storage.mu.Unlock()
				}
				if done := l.delivered(c); done.Status != job.Failed || done.Error.Code != job.StorageFailed || done.Result != nil {
					t.Errorf("report: %+v, error %+v, result %s", done.Status, done.Error, done.Result)
				}
			})
		}
	}
}

// replaceStorage puts an empty folder in the storage's place.
func (l *lab) replaceStorage() {
	if err := os.Rename(l.cfg.StorageBase, l.cfg.StorageBase+".away"); err != nil {
		l.t.Error(err)
	}
	if err := os.Mkdir(l.cfg.StorageBase, 0o700); err != nil {
		l.t.Error(err)
	}
}

// quietHeart keeps the heartbeat from being what notices.
func (l *lab) quietHeart() {
	l.hub.answer("register", func(c call) (int, any) {
		_, usual := l.hub.usual(c)
		res, _ := usual.(job.RegisterResponse)
		res.HeartbeatEveryMS = time.Hour.Milliseconds()
		return 200, res
	})
}

// TestVerifyIsCutOff: canceled and drained verifications say nothing about the
// snapshot.
func TestVerifyIsCutOff(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"cancel", "drain", "lost"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			l.cfg.DrainTimeout = 50 * time.Millisecond
			l.start()
			s := l.sealed()
			reading, ended := make(chan struct{}), make(chan struct{})
			var once atomic.Bool
			l.worker.storage.mu.Lock()
			l.worker.storage.store = &faultyStore{l.worker.storage.store, func(_ blob.Object, p []byte, _ int64) (int, error) {
				if once.CompareAndSwap(false, true) {
					close(reading)
				}
				<-ended
				return len(p), nil // zeros: damage, if anybody believed it
			}}
			l.worker.storage.mu.Unlock()
			l.deliver(l.verification(s, job.VerifyQuick))
			<-reading
			switch how {
			case "cancel":
				l.hub.answer("renew", func(call) (int, any) { return 200, job.RenewResponse{LeaseMS: 60_000, CancelRequested: true} })
				l.waitCalls("renew", len(l.hub.got("renew"))+2)
			case "lost":
				l.hub.answer("renew", func(call) (int, any) { return problem(409, job.RefusedLeaseLost) })
				testenv.Eventually(t, 2*time.Minute, func() bool { return strings.Contains(l.log.String(), "the lease is lost") }, "no lease is lost")
			case "drain":
				l.stop()
				<-l.worker.until.Done()
			}
			close(ended)
			switch how {
			case "cancel":
				done := decode[job.CompleteRequest](t, l.waitCalls("complete", 2)[1].body)
				if done.Status != job.Canceled || done.Result != nil {
					t.Errorf("report: %+v", done)
				}
			case "drain":
				l.waitCalls("release", 1)
			case "lost":
				testenv.Eventually(t, 2*time.Minute, func() bool { return strings.Contains(l.log.String(), "goes on without this attempt") }, "not stopped")
			}
			if how != "cancel" && len(l.hub.got("complete")) != 1 {
				t.Error("something was reported")
			}
		})
	}
}
