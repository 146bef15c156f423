package rebuild_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"xvault/archive"
	"xvault/archive/seal"
	"xvault/hub/rebuild"
	"xvault/internal/job"
	"xvault/internal/secret"
	"xvault/store/blob"
	"xvault/store/catalog"
)

// TestImport takes in what an honest worker has: whole, partial and damaged
// snapshots of two tenants, of which one's kit comes later.
func TestImport(t *testing.T) {
	t.Parallel()
	s := newLab(t).site("w1")
	x, y := s.tenant(), s.tenant()
	source := catalog.NewID()
	whole, partial, cut, others := s.snapshot(x, source), s.snapshot(x, source), s.snapshot(x, source), s.snapshot(y, catalog.NewID())
	partial.manifest.Content.Errors = 3
	cut.artifact = 99
	// An attempt of the same job that nobody took, and one that is all there is.
	lost, only := s.snapshot(x, source), s.snapshot(x, source)
	lost.manifest.JobID = whole.manifest.JobID
	for _, n := range []*snapshot{whole, partial, cut, others, lost, only} {
		s.plant(n)
	}
	s.unconfirmed[lost.key.SnapshotID], s.unconfirmed[only.key.SnapshotID] = true, true

	before := s.everything()
	dry := s.mustImport(rebuild.Config{Identities: []rebuild.Identity{x.kit()}, DryRun: true})
	if s.everything() != before {
		t.Error("a dry run changed the catalog")
	}
	done := s.mustImport(rebuild.Config{Identities: []rebuild.Identity{x.kit()}})
	dry.DryRun = false
	if fmt.Sprint(dry) != fmt.Sprint(done) {
		t.Errorf("the dry run said\n%+v\nand it was\n%+v", dry, done)
	}
	if done.Imported != 5 || done.Partial != 1 || done.Corrupt != 1 || done.Refused != 1 || done.Found != 6 || done.Bytes != 500 {
		t.Errorf("report: %+v", done)
	}
	statuses := s.rows(`SELECT s.status || ' ' || j.status || ' ' || s.size_bytes || ' ' || (s.verified_at IS NULL) || ' ' || s.local_path
		FROM snapshots s JOIN jobs j ON j.id = s.job_id AND j.snapshot_id = s.id WHERE s.tenant_id = $1 ORDER BY s.id`, x.id)
	want := []string{
		"completed completed 100 true " + s.base + "/" + whole.key.Prefix(), "partial failed 100 true " + s.base + "/" + partial.key.Prefix(),
		"corrupt completed 100 true " + s.base + "/" + cut.key.Prefix(), "completed completed 100 true " + s.base + "/" + only.key.Prefix(),
	}
	if strings.Join(statuses, "\n") != strings.Join(want, "\n") {
		t.Errorf("snapshots:\n%s\nwant\n%s", strings.Join(statuses, "\n"), strings.Join(want, "\n"))
	}
	if got := s.rows(`SELECT name || ' ' || status FROM sources WHERE id = $1`, source); got[0] != catalog.PlaceholderSource("sftp", source)+" disabled" {
		t.Errorf("source: %s", got)
	}
	if got := s.rows(`SELECT name FROM tenants WHERE id = ANY($1) ORDER BY id`, []uuid.UUID{x.id, y.id}); got[0] != "the name in the kit" || got[1] != catalog.PlaceholderTenant(y.id) {
		t.Errorf("tenants: %s", got)
	}
	s.opens(whole.key.SnapshotID, true)
	s.opens(others.key.SnapshotID, false)

	after := s.everything()
	again := s.mustImport(rebuild.Config{Identities: []rebuild.Identity{x.kit()}})
	if again.Imported != 0 || again.Present != 5 || again.Different != 0 || s.everything() != after {
		t.Errorf("again: %+v", again)
	}
	// The kit comes late, and without its comments.
	late := s.mustImport(rebuild.Config{Identities: []rebuild.Identity{{Key: y.identity, File: "key"}}})
	if late.Imported != 0 || len(late.UnusedIdentities) > 0 {
		t.Errorf("with the other kit: %+v", late)
	}
	s.opens(others.key.SnapshotID, true)
	stored, err := s.db.Operator(catalog.Actor{Type: catalog.ActorOperator, ID: "o"}).ExportTenantKey(t.Context(), y.id)
	if err != nil {
		t.Fatal(err)
	}
	if got := s.identity(stored); got != y.identity.Reveal() {
		t.Error("another identity was stored")
	}
}

// opens checks whether the hub would restore the snapshot.
func (s *site) opens(id uuid.UUID, want bool) {
	s.t.Helper()
	_, err := s.db.Operator(catalog.Actor{Type: catalog.ActorOperator, ID: "o"}).CreateDownload(s.t.Context(), catalog.DownloadRequest{SnapshotID: id, TTL: time.Hour})
	conflict, is := errors.AsType[*catalog.Conflict](err)
	if want && err != nil || !want && (!is || conflict.Code != "identity_missing") {
		s.t.Errorf("restore of %s: %v", id, err)
	}
}

// identity opens a stored key.
func (l *lab) identity(key catalog.TenantKey) string {
	l.t.Helper()
	keks, err := seal.ParseKEKs(secret.New(l.kek))
	if err != nil {
		l.t.Fatal(err)
	}
	ring, err := l.db.Keyring(l.t.Context(), keks)
	if err != nil {
		l.t.Fatal(err)
	}
	plain, err := ring.Open(key.Ciphertext, key.KeyID, catalog.TenantKeyAD(key.TenantID, key.ID))
	if err != nil {
		l.t.Fatal(err)
	}
	return string(plain)
}

// TestImportRefuses what is not what it says, each with a line that says why,
// takes in the good one beside it, and leaves the storage as it is.
func TestImportRefuses(t *testing.T) {
	t.Parallel()
	s := newLab(t).site("w1")
	x, y := s.tenant(), s.tenant()
	source := catalog.NewID()
	good := s.snapshot(x, source)
	s.plant(good)
	s.plant(s.snapshot(y, catalog.NewID()))
	wants := map[string]string{} // part of the place: part of the line
	plant := func(want string, change func(*snapshot)) string {
		n := s.snapshot(x, source)
		change(n)
		wants[n.key.SnapshotID.String()] = want
		return s.plant(n)
	}
	plant("manifest.json of "+y.id.String(), func(n *snapshot) { n.manifest.TenantID = y.id })
	plant("meta.json of "+y.id.String(), func(n *snapshot) {
		meta := n.manifest.Meta()
		meta.TenantID = y.id
		n.meta = &meta
	})
	plant("meta.json says", func(n *snapshot) { n.manifest.SnapshotID = catalog.NewID() })
	plant("the folder is of source", func(n *snapshot) { n.key.SourceID = catalog.NewID() })
	plant("contradict each other", func(n *snapshot) {
		meta := n.manifest.Meta()
		meta.JobID = catalog.NewID()
		n.meta = &meta
	})
	plant("no source type", func(n *snapshot) { n.manifest.Source.Type = "floppy" })
	plant("no worker's id", func(n *snapshot) { n.manifest.WorkerID = "a b" })
	plant("cannot have been made", func(n *snapshot) { n.manifest.CreatedAt = time.Now().Add(72 * time.Hour) })
	plant("one of type sftp in this catalog", func(n *snapshot) { n.manifest.Source.Type = "ssh" })
	plant("by its recovery kit", func(n *snapshot) { n.manifest.Encryption.Recipients = []string{y.recipient} })
	plant("sealed to 2 recipients", func(n *snapshot) { n.manifest.Encryption.Recipients = []string{x.recipient, y.recipient} })
	plant("cannot store", func(n *snapshot) { n.manifest.Tool.Version = "\x00" })
	s.write(plant("manifest.json is none", func(*snapshot) {}), blob.Manifest, []byte("{garbage"))
	s.write(plant("meta.json is none", func(*snapshot) {}), blob.Meta, []byte("[]"))
	must(t, os.Remove(filepath.Join(plant("backup.tar.zst.enc is missing", func(*snapshot) {}), blob.Artifact)))
	must(t, os.Truncate(filepath.Join(plant("has 1000000000 bytes", func(*snapshot) {}), blob.Manifest), 1e9)) // sparse
	linked := plant("is no file but a symbolic link", func(*snapshot) {})
	must(t, os.Rename(filepath.Join(linked, blob.Artifact), filepath.Join(s.base, "elsewhere")), os.Symlink(filepath.Join(s.base, "elsewhere"), filepath.Join(linked, blob.Artifact)))
	piped := plant("manifest.json", func(*snapshot) {})
	must(t, os.Remove(filepath.Join(piped, blob.Manifest)), os.Symlink("/dev/zero", filepath.Join(piped, blob.Manifest)))
	whole := plant("it is no folder but a symbolic link", func(*snapshot) {})
	must(t, os.Rename(whole, filepath.Join(s.base, "moved")), os.Symlink(filepath.Join(s.base, "moved"), whole))
	must(t, os.WriteFile(filepath.Join(s.base, "tenants", "..not-an-id\n"), nil, 0o600))
	wants["..not-an-id"] = "not named as anything"

	before := listing(t, s.base)
	// Another worker has a folder with the good one's key: the catalog's row stays.
	other := s.lab.site("w2")
	copied := *good
	copied.manifest.Artifact.SHA256 = strings.Repeat("cd", 32)
	other.plant(&copied)
	report := s.mustImport(rebuild.Config{Identities: []rebuild.Identity{y.kit()}})
	if report.Imported != 2 || report.Refused != int64(len(wants)) {
		t.Errorf("imported %d, refused %d of %d", report.Imported, report.Refused, len(wants))
	}
	for place, line := range wants {
		if !said(report, place, line) {
			t.Errorf("%s: nothing says %q in %+v", place, line, report.Problems)
		}
	}
	if listing(t, s.base) != before {
		t.Error("the storage was changed")
	}
	after := s.everything()
	foreign := other.mustImport(rebuild.Config{})
	if foreign.Imported != 0 || foreign.Different != 1 || !said(foreign, good.key.SnapshotID.String(), "it is on worker w1; the artifact's hash is another one") || s.everything() != after {
		t.Errorf("the other worker's: %+v", foreign)
	}
}

func said(r rebuild.Report, place, line string) bool {
	for _, p := range r.Problems {
		if strings.Contains(p.Place, place) && strings.Contains(p.What, line) {
			return true
		}
	}
	return false
}

// TestImportedKeys: whose key is whose, where snapshots and kits disagree.
func TestImportedKeys(t *testing.T) {
	t.Parallel()
	s := newLab(t).site("w1")
	x, thief, known := s.tenant(), s.tenant(), s.tenant()
	// A worker made up snapshots of x, sealed to a key of its own under the real
	// one's id and under another, the youngest of all.
	real1, forged, forged2 := s.snapshot(x, catalog.NewID()), s.snapshot(x, catalog.NewID()), s.snapshot(x, catalog.NewID())
	forged.manifest.Encryption.Recipients = []string{thief.recipient}
	forged2.manifest.Encryption = archive.Encryption{Algorithm: seal.Algorithm, Recipients: []string{thief.recipient}, KeyID: thief.key}
	forged2.manifest.CreatedAt = time.Now().Add(time.Hour).UTC()
	// Two tenants say that a key is theirs.
	claimed := s.snapshot(known, catalog.NewID())
	stolen := s.snapshot(thief, catalog.NewID())
	stolen.manifest.Encryption.Recipients = []string{known.recipient}
	for _, n := range []*snapshot{real1, forged, forged2, claimed, stolen} {
		s.plant(n)
	}
	report := s.mustImport(rebuild.Config{Identities: []rebuild.Identity{x.kit(), known.kit()}})
	if report.Imported != 3 || report.Refused != 2 {
		t.Errorf("report: %+v", report)
	}
	active := s.rows(`SELECT public_key FROM tenant_keys WHERE key_status = 'active' AND NOT identity_missing ORDER BY public_key`)
	if fmt.Sprint(active) != fmt.Sprint(sorted(x.recipient, known.recipient)) {
		t.Errorf("new backups are sealed to %v", active)
	}
	for _, n := range []*snapshot{forged, stolen} {
		if !said(report, n.key.SnapshotID.String(), "sealed to") {
			t.Errorf("%s: %+v", n.key.SnapshotID, report.Problems)
		}
	}
	// A tenant that the catalog has gets no key without its identity.
	late := s.snapshot(x, catalog.NewID())
	rotated := s.tenant()
	late.manifest.Encryption = archive.Encryption{Algorithm: seal.Algorithm, Recipients: []string{rotated.recipient}, KeyID: rotated.key}
	s.plant(late)
	if report := s.mustImport(rebuild.Config{}); report.Imported != 0 || !said(report, late.key.SnapshotID.String(), "no key of the tenant") {
		t.Errorf("a key out of nowhere: %+v", report)
	}
	wrong := rotated.kit() // says that it is another tenant's
	if report := s.mustImport(rebuild.Config{Identities: []rebuild.Identity{wrong}}); report.Imported != 0 {
		t.Errorf("another tenant's kit: %+v", report)
	}
	right := rotated.kit()
	right.TenantID = x.id
	if report := s.mustImport(rebuild.Config{Identities: []rebuild.Identity{right}}); report.Imported != 1 {
		t.Errorf("with its kit: %+v", report)
	}
	s.opens(late.key.SnapshotID, true)
	if now := s.rows(`SELECT public_key FROM tenant_keys WHERE key_status = 'active' AND tenant_id = $1`, x.id); now[0] != x.recipient {
		t.Errorf("new backups are sealed to %v", now)
	}
}

func sorted(a, b string) []string {
	if b < a {
		return []string{b, a}
	}
	return []string{a, b}
}

// TestImportsAtOnce: of one worker only one at a time; of two workers, that have
// snapshots of one tenant, both.
func TestImportsAtOnce(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	x, source := l.tenant(), catalog.NewID()
	sites := []*site{l.site("w1"), l.site("w2")}
	for _, s := range sites {
		for range 20 {
			s.plant(s.snapshot(x, source))
		}
	}
	unlock, err := l.db.LockImports(t.Context(), "w1")
	must(t, err)
	if _, err := sites[0].imports(rebuild.Config{}); !errors.Is(err, catalog.ErrImportRuns) {
		t.Errorf("beside another: %v", err)
	}
	unlock()
	var both sync.WaitGroup
	for _, s := range sites {
		both.Go(func() {
			if report, err := s.imports(rebuild.Config{Identities: []rebuild.Identity{x.kit()}}); err != nil || report.Imported != 20 {
				t.Errorf("%s: %+v, %v", s.id, report, err)
			}
		})
	}
	both.Wait()
	if got := l.rows(`SELECT count(*) || ' ' || count(DISTINCT job_id) FROM snapshots`); got[0] != "40 40" {
		t.Errorf("snapshots and jobs: %s", got)
	}
}

// TestUnaskedListings: a worker's token puts nothing into the catalog.
func TestUnaskedListings(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	s, other := l.site("w1"), l.site("w2")
	page := job.FoundPage{ImportID: uuid.New(), ListingID: uuid.New(), StorageID: s.store.ID(), Last: true}
	if err := l.db.KeepFound(t.Context(), s.ref, page); !errors.Is(err, catalog.ErrNotListing) {
		t.Errorf("unasked: %v", err)
	}
	asked, err := l.db.Operator(catalog.Actor{Type: catalog.ActorCommand, ID: "import"}).StartImport(t.Context(), "w1")
	must(t, err)
	page.ImportID, page.StorageID = asked.ID, other.store.ID()
	if err := l.db.KeepFound(t.Context(), other.ref, page); !errors.Is(err, catalog.ErrNotListing) {
		t.Errorf("asked of another worker: %v", err)
	}
	if err := l.db.KeepFound(t.Context(), s.ref, page); !errors.Is(err, catalog.ErrNotListing) {
		t.Errorf("of another storage: %v", err)
	}
	if _, err := s.imports(rebuild.Config{Patience: time.Millisecond}); err != nil && !strings.Contains(err.Error(), "has not told") {
		t.Errorf("a worker that says nothing: %v", err)
	}
	if got := l.rows(`SELECT count(*)::text FROM import_items`); got[0] != "0" {
		t.Errorf("%s items were kept", got)
	}
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// listing is all that is below a folder, with sizes and targets of links.
func listing(t *testing.T, dir string) string {
	t.Helper()
	var all strings.Builder
	must(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		target, _ := os.Readlink(path)
		_, err = fmt.Fprintln(&all, path, info.Mode(), info.Size(), target)
		return err
	}))
	return all.String()
}
