package workerapi_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"golang.org/x/crypto/ssh"

	"xvault/archive/seal"
	"xvault/internal/job"
	"xvault/internal/testenv"
	"xvault/store/catalog"
)

func failure(c job.Claim, code job.Code) job.CompleteRequest {
	return job.CompleteRequest{Attempt: c.Attempt, Status: job.Failed, Error: &job.WireError{Code: code, Message: "it failed"}}
}

func hostKey(t *testing.T) string {
	t.Helper()
	public, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
}

// opens expects a credential that this worker alone can open.
func (w *worker) opens(sealed []byte) {
	w.t.Helper()
	plain, err := seal.OpenMessage(w.identity, sealed, 1<<16)
	if err != nil {
		w.t.Fatalf("the worker cannot open its credential: %v", err)
	}
	credential, err := job.DecodeCredential(plain)
	if err != nil || credential.Type != "password" || credential.Password.Reveal() != password {
		w.t.Errorf("another credential came out: %v", err)
	}
	stranger, _, err := seal.NewIdentity()
	w.must(err)
	if _, err := seal.OpenMessage(stranger, sealed, 1<<16); !errors.Is(err, seal.ErrWrongIdentity) {
		w.t.Errorf("a stranger opening it: %v", err)
	}
}

func TestClaim(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	c := l.customer("a")
	w := l.join("w1")
	req := job.ClaimRequest{JobID: l.job(c, job.Backup), ClaimID: uuid.New()}
	var claim, again job.Claim
	first := w.call("POST", "/jobs/claim", req)
	first.ok(&claim)
	if claim.Attempt != 1 || claim.TenantID != c.tenant || claim.Kind != job.Backup || claim.SnapshotID == uuid.Nil ||
		claim.LeaseMS <= 0 || claim.LeaseMS > job.Lease.Milliseconds() || claim.Source.ID != c.source ||
		claim.Source.CredentialID != c.credential || claim.Source.Type != "sftp" || claim.TenantKey.PublicKey != c.recipient {
		t.Errorf("claim: %s", first.body)
	}
	if bytes.Contains(first.body, []byte(password)) {
		t.Error("the password goes over the wire in clear")
	}
	w.opens(claim.SealedCredential)
	w.call("POST", "/jobs/claim", req).ok(&again)
	if again.Attempt != claim.Attempt || again.SnapshotID != claim.SnapshotID || !again.StartedAt.Equal(claim.StartedAt) {
		t.Errorf("the same claim again: %+v", again)
	}
	w.opens(again.SealedCredential)

	w.call("POST", "/jobs/claim", job.ClaimRequest{JobID: req.JobID, ClaimID: uuid.New()}).refused(http.StatusConflict, job.RefusedNotClaimable)
	w.on(req.JobID, "complete", w.success(claim)).ok(nil)
	w.call("POST", "/jobs/claim", req).refused(http.StatusGone, job.RefusedGone)
	w.call("POST", "/jobs/claim", job.ClaimRequest{JobID: uuid.New(), ClaimID: uuid.New()}).refused(http.StatusGone, job.RefusedGone)
}

func TestClaimsRace(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	id := l.job(l.customer("a"), job.Backup)
	const racers = 6
	replies := make(chan int, racers)
	for i := range racers {
		w := l.join(string(rune('a' + i)))
		go func() {
			replies <- send(t, w.base, w.token, "POST", "/jobs/claim", job.ClaimRequest{JobID: id, ClaimID: uuid.New()}).status
		}()
	}
	won := 0
	for range racers {
		if status := <-replies; status == http.StatusOK {
			won++
		} else if status != http.StatusConflict {
			t.Errorf("a loser got %d", status)
		}
	}
	if won != 1 {
		t.Errorf("%d winners", won)
	}
}

func TestDrainingWorkerClaimsNothing(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	w := l.join("w1")
	if _, err := l.operator().SetDrain(t.Context(), "w1", true); err != nil {
		t.Fatal(err)
	}
	claim := job.ClaimRequest{JobID: l.job(l.customer("a"), job.Backup), ClaimID: uuid.New()}
	w.call("POST", "/jobs/claim", claim).refused(http.StatusConflict, job.RefusedNotClaimable)
}

// A worker without its storage is offline for all that needs one.
func TestWorkerWithoutStorageOnlyProbes(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	c := l.customer("a")
	w := l.join("w1")
	backup, probe := l.job(c, job.Backup), l.job(c, job.Probe)
	for _, state := range []string{job.StorageMissing, job.StorageForeign} {
		w.call("POST", "/workers/heartbeat", job.Heartbeat{StorageState: state}).ok(nil)
		w.call("POST", "/jobs/claim", job.ClaimRequest{JobID: backup, ClaimID: uuid.New()}).refused(http.StatusConflict, job.RefusedNotClaimable)
		if got := l.jobNow(backup).WaitingReason; got != catalog.WaitingNoWorker {
			t.Errorf("storage %s: the backup waits for %q", state, got)
		}
		if got := l.jobNow(probe).WaitingReason; got != "" {
			t.Errorf("storage %s: the probe waits for %q", state, got)
		}
	}
	w.claim(probe)
	w.call("POST", "/workers/heartbeat", job.Heartbeat{StorageState: job.StorageOK, StorageID: w.storage}).ok(nil)
	w.claim(backup)
}

func TestRestartEndsTheEarlierLeasesAtOnce(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	w := l.join("w1")
	first := w.claim(l.job(l.customer("a"), job.Backup))
	w.register()
	if now := l.jobNow(first.JobID); now.Status != job.Queued || now.LeaseExpiresAt != nil {
		t.Fatalf("after the restart: %+v", now)
	}
	second := w.claim(first.JobID)
	if second.Attempt != 2 || second.SnapshotID == first.SnapshotID {
		t.Errorf("second attempt: %+v", second)
	}
	// What the earlier attempt still says changes nothing.
	w.on(first.JobID, "renew", job.RenewRequest{Attempt: 1}).refused(http.StatusConflict, job.RefusedLeaseLost)
	w.on(first.JobID, "finalize", job.AttemptRequest{Attempt: 1}).refused(http.StatusConflict, job.RefusedLeaseLost)
	w.on(first.JobID, "release", job.AttemptRequest{Attempt: 1}).refused(http.StatusConflict, job.RefusedLeaseLost)
	w.on(first.JobID, "complete", w.success(first)).refused(http.StatusConflict, job.RefusedLeaseLost)
	w.on(first.JobID, "host-key", job.HostKeyRequest{Attempt: 1, Key: hostKey(t)}).refused(http.StatusConflict, job.RefusedLeaseLost)
	w.on(first.JobID, "complete", w.success(second)).ok(nil)
	if now := l.jobNow(first.JobID); now.Status != job.Completed || *now.SnapshotID != second.SnapshotID {
		t.Errorf("in the end: %+v", now)
	}
}

func TestRenew(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	w := l.join("w1")
	claim := w.claim(l.job(l.customer("a"), job.Backup))
	var answer job.RenewResponse
	req := job.RenewRequest{Attempt: 1, Progress: job.Progress{Phase: "read\x00", Files: 3, Bytes: -1, RateBPS: 7}}
	w.on(claim.JobID, "renew", req).ok(&answer)
	if answer.LeaseMS != job.Lease.Milliseconds() || answer.CancelRequested {
		t.Errorf("renewal: %+v", answer)
	}
	if p := l.jobNow(claim.JobID).Progress; p == nil || p.Files != 3 || p.Bytes != 0 || p.RateBPS != 7 {
		t.Errorf("progress: %+v", p)
	}
	if _, err := l.operator().CancelJob(t.Context(), claim.JobID); err != nil {
		t.Fatal(err)
	}
	w.on(claim.JobID, "renew", req).ok(&answer)
	if !answer.CancelRequested {
		t.Error("the worker does not learn of the cancel")
	}
	w.on(claim.JobID, "complete", job.CompleteRequest{Attempt: 1, Status: job.Canceled}).ok(nil)
	w.on(claim.JobID, "renew", req).refused(http.StatusConflict, job.RefusedLeaseLost)
	if now := l.jobNow(claim.JobID); now.Status != job.Canceled {
		t.Errorf("in the end: %+v", now)
	}
}

func TestHostKeyIsPinnedOnce(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	c := l.customer("a")
	w := l.join("w1")
	claim := w.claim(l.job(c, job.Backup))
	key := hostKey(t)
	var answer job.HostKeyResponse
	w.on(claim.JobID, "host-key", job.HostKeyRequest{Attempt: 1, Key: "  " + key + "  root@host\n"}).ok(&answer)
	if !answer.Pinned {
		t.Error("not pinned")
	}
	w.on(claim.JobID, "host-key", job.HostKeyRequest{Attempt: 1, Key: key}).ok(nil)
	w.on(claim.JobID, "host-key", job.HostKeyRequest{Attempt: 1, Key: hostKey(t)}).refused(http.StatusConflict, job.RefusedHostKey)
	for _, bad := range []string{"", "ssh-ed25519 AAAA", `command="x" ` + key, key + "\n" + hostKey(t)} {
		w.on(claim.JobID, "host-key", job.HostKeyRequest{Attempt: 1, Key: bad}).names("key")
	}
	w.on(claim.JobID, "release", job.AttemptRequest{Attempt: 1}).ok(nil)
	if next := w.claim(claim.JobID); len(next.Source.PinnedHostKeys) != 1 || next.Source.PinnedHostKeys[0] != key {
		t.Errorf("the next claim has %q", next.Source.PinnedHostKeys)
	}
}

func TestFinalizeAndComplete(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	c := l.customer("a")
	w := l.join("w1")
	claim := w.claim(l.job(c, job.Backup))
	for range 2 {
		w.on(claim.JobID, "finalize", job.AttemptRequest{Attempt: 1}).ok(nil)
	}
	if now := l.jobNow(claim.JobID); now.Status != job.Finalizing {
		t.Errorf("after finalize: %+v", now)
	}
	report := w.success(claim)
	report.Result = json.RawMessage(`{"odd":"a\u0000b\ud800c","n":9007199254740993}`)
	for range 2 { // the reply of the first may be lost
		w.on(claim.JobID, "complete", report).ok(nil)
	}
	w.on(claim.JobID, "finalize", job.AttemptRequest{Attempt: 1}).ok(nil)
	now := l.jobNow(claim.JobID)
	if now.Status != job.Completed || now.SnapshotID == nil || *now.SnapshotID != claim.SnapshotID {
		t.Fatalf("after complete: %+v", now)
	}
	if got := string(now.Result); !strings.Contains(got, "9007199254740993") || !strings.Contains(got, "a\uFFFDb\uFFFDc") {
		t.Errorf("result: %s", got)
	}
	s, err := l.operator().Snapshot(t.Context(), claim.SnapshotID)
	if err != nil || s.WorkerID == nil || *s.WorkerID != "w1" || s.StorageID == nil || *s.StorageID != w.storage ||
		s.SizeBytes != 1<<40 || s.TenantID != c.tenant || s.JobID != claim.JobID || s.EncryptionRecipient != c.recipient {
		t.Errorf("snapshot: %+v, %v", s, err)
	}
	other := w.success(claim)
	other.Snapshot.ID = uuid.New()
	w.on(claim.JobID, "complete", other).refused(http.StatusConflict, job.RefusedLeaseLost)
	w.on(claim.JobID, "complete", failure(claim, job.Internal)).refused(http.StatusConflict, job.RefusedLeaseLost)
}

func TestReportsThatCannotBeTrue(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	b := l.customer("b")
	w := l.join("w1")
	claim := w.claim(l.job(l.customer("a"), job.Backup))
	tests := map[string]func(*job.CompleteRequest){
		"another id":            func(r *job.CompleteRequest) { r.Snapshot.ID = uuid.New() },
		"another tenant's key":  func(r *job.CompleteRequest) { r.Snapshot.KeyID, r.Snapshot.Recipient = b.key, b.recipient },
		"another recipient":     func(r *job.CompleteRequest) { r.Snapshot.Recipient = b.recipient },
		"another place":         func(r *job.CompleteRequest) { r.Snapshot.LocalPath = "/etc" },
		"no hash":               func(r *job.CompleteRequest) { r.Snapshot.SHA256 = "" },
		"negative size":         func(r *job.CompleteRequest) { r.Snapshot.SizeBytes = -1 },
		"partial but completed": func(r *job.CompleteRequest) { r.Snapshot.Status = "partial" },
		"no snapshot":           func(r *job.CompleteRequest) { r.Snapshot = nil },
		"no manifest":           func(r *job.CompleteRequest) { r.Snapshot.Manifest = nil },
	}
	for name, spoil := range tests {
		report := w.success(claim)
		spoil(&report)
		r := w.on(claim.JobID, "complete", report)
		r.what += " with " + name
		r.refused(http.StatusConflict, "invalid_report")
	}
	report := w.success(claim)
	report.Status = job.Running
	w.on(claim.JobID, "complete", report).names("status")
	report = w.success(claim)
	report.Result = json.RawMessage(`[1]`)
	w.on(claim.JobID, "complete", report).names("result")
	report = w.success(claim)
	report.Snapshot.Manifest = json.RawMessage(`"x"`)
	w.on(claim.JobID, "complete", report).names("snapshot.manifest")
	if now := l.jobNow(claim.JobID); now.Status != job.Running {
		t.Errorf("the job: %+v", now)
	}
	if n := l.one("SELECT count(*)::text FROM snapshots"); n != "0" {
		t.Errorf("%s snapshots", n)
	}
	w.on(claim.JobID, "complete", w.success(claim)).ok(nil)
}

func TestFailures(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	c := l.customer("a")
	w := l.join("w1")
	claim := w.claim(l.job(c, job.Backup))
	for range 2 {
		w.on(claim.JobID, "complete", failure(claim, job.ConnectFailed)).ok(nil)
	}
	if now := l.jobNow(claim.JobID); now.Status != job.Queued || now.Error == nil || now.Error.Code != job.ConnectFailed {
		t.Errorf("after a transient failure: %+v", now)
	}
	claim = w.claim(l.job(c, job.Backup))
	report := failure(claim, "of_a_newer_worker")
	report.Error.Message = "bad name a\x00b"
	w.on(claim.JobID, "complete", report).ok(nil)
	if now := l.jobNow(claim.JobID); now.Status != job.Failed || now.Error.Code != job.Internal || now.Error.Message != "bad name a\uFFFDb" {
		t.Errorf("after a permanent failure: %+v", now)
	}
}

// A hub without the key that a credential is under hands the job back; a
// damaged credential fails it.
func TestCredentialThatDoesNotOpen(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	c := l.customer("a")
	w := l.join("w1")
	id := l.job(c, job.Backup)
	kek := func(name string, fill byte) string {
		return name + ":" + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{fill}, 32))
	}
	both := keyring(t, l.db, kek("k2", 2)+","+kek("k1", 1))
	if _, err := l.operator().Rekey(t.Context(), both, "credentials", uuid.Nil, 10); err != nil {
		t.Fatal(err)
	}
	claim := job.ClaimRequest{JobID: id, ClaimID: uuid.New()}
	w.call("POST", "/jobs/claim", claim).refused(http.StatusServiceUnavailable, "unavailable")
	if now := l.jobNow(id); now.Status != job.Queued || now.Error != nil {
		t.Errorf("after a hub without the key: %+v", now)
	} else if wait := now.RunAfter.Sub(*now.StartedAt); wait < 5*time.Second || wait > 10*time.Second || now.WaitingReason != catalog.WaitingRetryBackoff {
		t.Errorf("due again %s after the claim, waiting for %q", wait, now.WaitingReason)
	}
	// It rests, and is not claimed, handed back and dispatched in a circle.
	w.call("POST", "/jobs/claim", job.ClaimRequest{JobID: id, ClaimID: uuid.New()}).refused(http.StatusConflict, job.RefusedNotClaimable)
	l.exec("UPDATE jobs SET run_after = xvault_now() WHERE id = $1", id)
	w.base = l.serve(both)
	again := w.claim(id)
	w.opens(again.SealedCredential)
	w.on(id, "complete", w.success(again)).ok(nil)

	id = l.job(c, job.Backup)
	l.exec("UPDATE credentials SET ciphertext = set_byte(ciphertext, length(ciphertext) - 1, get_byte(ciphertext, length(ciphertext) - 1) # 1)")
	w.call("POST", "/jobs/claim", job.ClaimRequest{JobID: id, ClaimID: uuid.New()}).refused(http.StatusGone, job.RefusedGone)
	if now := l.jobNow(id); now.Status != job.Failed || now.Error.Code != job.Internal {
		t.Errorf("after a damaged credential: %+v", now)
	}
}

func TestNoSecretIsLeft(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	c := l.customer("a")
	w := l.join("w1")
	first := w.token
	w.register()
	claim := w.claim(l.job(c, job.Backup))
	w.call("GET", "/credentials/"+c.credential.String(), nil).ok(nil)
	w.on(claim.JobID, "complete", w.success(claim)).ok(nil)
	send(t, l.base, "xvw_wrong-but-secret-all-the-same", "POST", "/jobs/claim", nil)
	dump := testenv.DumpPostgres(t, l.url)
	if !strings.Contains(dump, claim.JobID.String()) {
		t.Fatal("the dump does not hold the job at all")
	}
	if !strings.Contains(l.log.String(), `"job_id":"`+claim.JobID.String()) {
		t.Fatalf("the log does not name the job: %s", l.log)
	}
	for what, canary := range map[string]string{
		"password": password, "password, encoded": base64.StdEncoding.EncodeToString([]byte(password))[:24],
		"join token": joinToken, "first token": first, "token": w.token, "wrong token": "xvw_wrong-but-secret",
		"identity": "AGE-SECRET-KEY",
	} {
		if strings.Contains(dump, canary) {
			t.Errorf("%s stands in the catalog", what)
		}
		if strings.Contains(l.log.String(), canary) {
			t.Errorf("%s stands in the log", what)
		}
	}
}
