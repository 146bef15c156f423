package e2e

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"xvault/e2e/system"
)

// A whole snapshot comes over its ticket as it was, in each format. The tar is the same,
// byte for byte, whichever way the source was read: its times have whole seconds, and no
// file in it has two names.
func TestRestoreDownloads(t *testing.T) {
	t.Parallel()
	s := system.Start(t, system.Options{}).NewScene(t, system.SceneOptions{Seed: 11})
	wholeSeconds(t, s.Path)
	s.Want = system.Scan(t, s.Path)
	done := s.Acknowledged(s.Backup().ID, 3*time.Minute)
	var overSFTP []byte
	for format, decode := range map[string]string{"": "cat", "tar": "cat", "tar.zst": "zstd -dq"} {
		body := map[string]any{}
		if format != "" {
			body["format"] = format
		}
		d := s.MustRestore(done.SnapshotID, body)
		resp, stream := system.MustFetch(t, d.URL, http.StatusOK)
		if resp.ContentLength != int64(len(stream)) || d.SizeBytes != resp.ContentLength {
			t.Errorf("%s: %d bytes, Content-Length %d, announced %d", format, len(stream), resp.ContentLength, d.SizeBytes)
		}
		s.Want.MustEqual(t, system.Scan(t, filepath.Join(system.Untar(t, stream, decode), s.Path)))
		if format == "tar" {
			overSFTP = stream
		}
	}
	s.Type = system.SSH
	s.SourceID = s.API.CreateSourceOf(t, s.Type, s.Tenant.ID, s.API.CreateCredential(t, s.Tenant.ID, system.PrivateKey(s.SSH.ClientKeyPEM)), s.SSH.Config(s.Path))
	done = s.Acknowledged(s.Backup().ID, 3*time.Minute)
	_, overSSH := system.MustFetch(t, s.MustRestore(done.SnapshotID, map[string]any{"format": "tar"}).URL, http.StatusOK)
	if len(overSFTP) == 0 || !bytes.Equal(overSSH, overSFTP) {
		t.Errorf("%d bytes of tar through the shell and %d over SFTP are not the same", len(overSSH), len(overSFTP))
	}
}

// wholeSeconds sets the times of links, which have fractions of seconds as the kernel
// made them.
func wholeSeconds(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Type() != fs.ModeSymlink {
			return err
		}
		at := unix.NsecToTimespec(1_600_000_000 * int64(time.Second))
		return unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{at, at}, unix.AT_SYMLINK_NOFOLLOW)
	})
	must(t, err)
}

// A download that is cut half-way goes on where it was cut, with the worker
// started anew in between, and has the hash that it would have had.
func TestDownloadIsResumed(t *testing.T) {
	t.Parallel()
	s := system.Start(t, system.Options{}).NewScene(t, system.SceneOptions{Seed: 12})
	done := s.Acknowledged(s.Backup().ID, 3*time.Minute)
	w := s.Workers[0]
	for _, format := range []string{"tar", "tar.zst"} {
		d := s.MustRestore(done.SnapshotID, map[string]any{"format": format})
		_, whole := system.MustFetch(t, d.URL, http.StatusOK)
		first, etag := readSome(t, d.URL, len(whole)/2)
		w.Kill()
		w.Start()
		w.WaitOnline()
		resp, rest := system.MustFetch(t, d.URL, http.StatusPartialContent, "Range", fmt.Sprintf("bytes=%d-", len(first)), "If-Range", etag)
		if got := sha256.Sum256(slices.Concat(first, rest)); got != sha256.Sum256(whole) {
			t.Errorf("%s: %d and %d bytes are not the whole %d (%s)", format, len(first), len(rest), len(whole), resp.Header.Get("Content-Range"))
		}
	}
}

// readSome reads the beginning of a download and hangs up.
func readSome(t *testing.T, url string, n int) ([]byte, string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b := make([]byte, n)
	if _, err := io.ReadFull(resp.Body, b); err != nil {
		t.Fatal(err)
	}
	return b, resp.Header.Get("ETag")
}

// Tickets that are altered, another worker's, another job's, revoked or expired
// are refused, in one shape, and give away nothing.
func TestTicketsAreRefused(t *testing.T) {
	t.Parallel()
	lab := system.Start(t, system.Options{Workers: 2})
	a, b := lab.NewScene(t, system.SceneOptions{Seed: 13, Files: 5}), lab.NewScene(t, system.SceneOptions{Seed: 14, Files: 5})
	one, two := a.Acknowledged(a.Backup().ID, 3*time.Minute), b.Acknowledged(b.Backup().ID, 3*time.Minute)
	first, second := a.MustRestore(one.SnapshotID, nil), b.MustRestore(two.SnapshotID, nil)
	system.MustFetch(t, first.URL, http.StatusOK)
	system.MustFetch(t, second.URL, http.StatusOK)

	const forbidden = http.StatusForbidden
	base, text, _ := strings.Cut(first.URL, "?ticket=")
	system.Refused(t, "no ticket", base, forbidden)
	for i := range 20 {
		at := i * (len(text) - 1) / 19
		altered := []byte(text)
		altered[at] = map[bool]byte{true: 'B', false: 'A'}[altered[at] == 'A']
		system.Refused(t, fmt.Sprintf("character %d of %d altered", at, len(text)), base+"?ticket="+string(altered), forbidden)
	}
	system.Refused(t, "another job's path", strings.Replace(first.URL, first.JobID, second.JobID, 1), forbidden)
	system.Refused(t, "another path", strings.Replace(first.URL, "/download/", "/files/", 1), forbidden)
	host, call, _ := strings.Cut(first.URL, "/download/")
	for _, w := range lab.Workers {
		if at := "http://" + w.ListenAddr(); at != host {
			system.Refused(t, "another worker", at+"/download/"+call, forbidden)
		}
	}

	// Another tenant's key neither sees nor makes nor revokes it.
	key := system.NewClient(lab.Hubs[0].URL, lab.API.CreateKey(t, b.Tenant.ID, "b"))
	for _, call := range [][2]string{{"GET", "/api/v1/jobs/" + first.JobID}, {"POST", "/api/v1/jobs/" + first.JobID + "/cancel"},
		{"POST", "/api/v1/snapshots/" + one.SnapshotID + "/restore"}, {"GET", "/api/v1/snapshots/" + one.SnapshotID + "/files"}} {
		key.Do(t, call[0], call[1], nil, http.StatusNotFound)
	}
	system.MustFetch(t, first.URL, http.StatusOK)

	lab.API.Do(t, "POST", "/api/v1/jobs/"+first.JobID+"/cancel", nil, http.StatusOK)
	if code := system.Refused(t, "revoked", first.URL, http.StatusGone); code != "ticket_revoked" {
		t.Errorf("revoked: %s", code)
	}
	if j := lab.API.Job(t, first.JobID); j.Status != "completed" || bytes.Contains(j.Result, []byte("download_url")) {
		t.Errorf("after it was revoked: %s %s", j, j.Result)
	}
	if n := lab.One(t, `SELECT count(*)::text FROM audit_events WHERE action = 'ticket.redeem' AND tenant_id = $1`, a.Tenant.ID); n != "3" {
		t.Errorf("%s uses of the ticket are recorded, want 3", n)
	}
	lab.MoveClock(t, 25*time.Hour)
	if code := system.Refused(t, "expired", second.URL, http.StatusGone); code != "ticket_expired" {
		t.Errorf("expired: %s", code)
	}
}

// F15: every flipped or cut byte, and a swap of two tenants' artifacts, is found:
// before there is an address, or by a transfer that does not end well. The one
// tenant's artifact came over sftp, the other's over ssh.
func TestDamagedArtifactsAreFound(t *testing.T) {
	t.Parallel()
	trials := system.NewTrials(t, "F15, flip or cut a byte, swap artifacts")
	lab := system.Start(t, system.Options{})
	a := damageable(t, lab.NewScene(t, system.SceneOptions{Seed: 15}))
	b := damageable(t, lab.NewScene(t, system.SceneOptions{Seed: 15, Type: system.SSH, Small: true}))
	a.damage(t, trials, b.sound)
	b.damage(t, trials, a.sound)
}

// artifact is a snapshot's file, and what can be done to it.
type artifact struct {
	*system.Scene
	id, file string
	sound    []byte
	good     system.Download // asked for while it was sound
}

func damageable(t *testing.T, s *system.Scene) artifact {
	t.Helper()
	done := s.MustComplete(s.Backup().ID, 3*time.Minute)
	s.CheckWay(done.ID)
	file := filepath.Join(s.API.Snapshot(t, done.SnapshotID).LocalPath, system.Artifact)
	return artifact{Scene: s, id: done.SnapshotID, file: file, sound: mustRead(t, file), good: s.MustRestore(done.SnapshotID, nil)}
}

func (a artifact) damage(t *testing.T, trials *system.Trials, foreign []byte) {
	t.Helper()
	damaged := map[string][]byte{"swapped with another tenant's": foreign}
	for what, at := range map[string]int{"header": 40, "first chunk": 300, "middle": len(a.sound) / 2, "last chunk": len(a.sound) - 2} {
		flipped := bytes.Clone(a.sound)
		flipped[at] ^= 0x10
		damaged["flipped in "+what] = flipped
		damaged["cut in "+what] = slices.Delete(bytes.Clone(a.sound), at, at+1)
	}
	for what, content := range damaged {
		began := time.Now()
		must(t, os.WriteFile(a.file, content, 0o600))
		resp, body, err := system.Fetch(t, a.good.URL)
		if err == nil && resp.StatusCode == http.StatusOK {
			t.Errorf("%s, %s: %d bytes were sent as if nothing were wrong", a.Type, what, len(body))
		}
		ended := a.WaitJob(a.API.StartRestore(t, a.id, nil).ID, 3*time.Minute)
		switch {
		case ended.Status == "failed" && ended.Error.Code == "artifact_corrupt":
		case ended.Status == "completed" && strings.HasPrefix(what, "flipped in ") && !strings.Contains(what, "header") && !strings.Contains(what, "last"):
		default:
			t.Errorf("%s, %s: %s", a.Type, what, ended)
		}
		trials.Add(time.Since(began), 0)
	}
	must(t, os.WriteFile(a.file, a.sound, 0o600))
	_, stream := system.MustFetch(t, a.good.URL, http.StatusOK)
	a.Want.MustEqual(t, system.Scan(t, filepath.Join(system.Untar(t, stream, "cat"), a.Path)))
	must(t, os.Remove(a.file))
	if code := system.Refused(t, "missing", a.good.URL, http.StatusNotFound); code != "artifact_missing" {
		t.Errorf("%s, missing: %s", a.Type, code)
	}
}

func mustRead(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// restoreSteps are the named steps of a restore, in order, at each of which a
// worker is killed.
var restoreSteps = []string{"restore.check", "restore.check.after", "restore.complete", "restore.complete.after"}

// A restore whose worker is killed at any step completes all the same, once, and
// what it promises can be fetched.
func TestWorkerKilledAtEveryStepOfARestore(t *testing.T) {
	t.Parallel()
	trials := system.NewTrials(t, "F1 for restores, kill -9 the worker at each step")
	s := system.Start(t, system.Options{}).NewScene(t, system.SceneOptions{Seed: 16, Files: 10})
	done := s.Acknowledged(s.Backup().ID, 3*time.Minute)
	w := s.Workers[0]
	w.Terminate(t, 30*time.Second)
	for _, step := range restoreSteps {
		w.Start(step + "=kill")
		w.WaitOnline()
		job := s.API.StartRestore(t, done.SnapshotID, nil)
		select {
		case <-w.Done():
		case <-time.After(3 * time.Minute):
			t.Fatalf("the worker was not killed at %s; steps reached: %v; %s", step, w.Hits(), s.API.Job(t, job.ID))
		}
		fault := time.Now()
		if hits := w.Hits(); !slices.Contains(hits, step) {
			t.Fatalf("%s was not reached, only %v: this kill proves nothing", step, hits)
		}
		w.Start()
		ended := s.MustComplete(job.ID, 2*time.Minute)
		w.WaitOnline()
		_, stream := system.MustFetch(t, s.API.DownloadOf(t, job.ID).URL, http.StatusOK)
		s.Want.MustEqual(t, system.Scan(t, filepath.Join(system.Untar(t, stream, "cat"), s.Path)))
		trials.Add(time.Since(fault), 0)
		t.Logf("killed at %s: completed in attempt %d", step, ended.Attempt)
		w.Terminate(t, 30*time.Second)
	}
	s.Sweep(w)
	s.Check()
}

// F14: a snapshot that is removed while it is being read is read to its end.
func TestDownloadOutlivesTheSnapshot(t *testing.T) {
	t.Parallel()
	s := system.Start(t, system.Options{}).NewScene(t, system.SceneOptions{Seed: 17})
	big := filepath.Join(s.Path, "big.bin")
	if err := os.WriteFile(big, bytes.Repeat([]byte("sixteen bytes..."), 2<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	done := s.MustComplete(s.Backup().ID, 3*time.Minute)
	d := s.MustRestore(done.SnapshotID, nil)
	_, whole := system.MustFetch(t, d.URL, http.StatusOK)
	resp, err := http.Get(d.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	got := make([]byte, 1000)
	if _, err := io.ReadFull(resp.Body, got); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(s.API.Snapshot(t, done.SnapshotID).LocalPath); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(resp.Body)
	if err != nil || !bytes.Equal(slices.Concat(got, rest), whole) {
		t.Errorf("%d of %d bytes, %v", len(got)+len(rest), len(whole), err)
	}
}
