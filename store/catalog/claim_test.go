package catalog_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"xvault/internal/job"
	"xvault/internal/testenv"
	"xvault/store/catalog"
)

func TestClaimGivesWhatTheJobNeeds(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	credential := catalog.NewID()
	l.exec(`INSERT INTO credentials (id, tenant_id, kind, secret_type, ciphertext, key_id)
		VALUES ($1, $2, 'source', 'password', '\x0102', 'k')`, credential, l.owner.tenant)
	l.exec(`UPDATE sources SET credential_id = $1, config = '{"host": "h"}', pinned_host_keys = '{ssh-ed25519 AAAA}' WHERE id = $2`,
		credential, l.owner.source)
	posted := l.post(func(n *catalog.NewJob) { n.Payload = []byte(`{"a": 1}`) })
	req := job.ClaimRequest{JobID: posted.ID, ClaimID: uuid.New()}
	c, err := l.ClaimJob(t.Context(), l.w1, req)
	l.must(err)

	if c.Attempt != 1 || c.Kind != job.Backup || c.TenantID != l.owner.tenant || c.SnapshotID == uuid.Nil || string(c.Payload) != `{"a": 1}` {
		t.Errorf("claim is %+v", c)
	}
	if c.Lease < job.Lease-5*time.Second || c.Lease > job.Lease {
		t.Errorf("lease is %v", c.Lease)
	}
	if c.Source.ID != l.owner.source || c.Source.Type != "sftp" || string(c.Source.Config) != `{"host": "h"}` || len(c.Source.PinnedHostKeys) != 1 {
		t.Errorf("source is %+v", c.Source)
	}
	if c.TenantKey == nil || *c.TenantKey != (catalog.ClaimedKey{ID: l.owner.key, Algorithm: "age-x25519", PublicKey: "age1x"}) {
		t.Errorf("tenant key is %+v", c.TenantKey)
	}
	if c.Credential == nil || c.Credential.ID != credential || c.Credential.KeyID != "k" || string(c.Credential.Ciphertext) != "\x01\x02" {
		t.Errorf("credential is %+v", c.Credential)
	}
	j := l.job(posted.ID)
	wantStatus(t, j, job.Running)
	if j.WorkerID == nil || *j.WorkerID != "w1" || j.StartedAt == nil || !j.StartedAt.Equal(c.StartedAt) || j.LeaseExpiresAt == nil {
		t.Errorf("job is %+v", j)
	}

	again, err := l.ClaimJob(t.Context(), l.w1, req)
	l.must(err)
	if again.Attempt != c.Attempt || again.SnapshotID != c.SnapshotID || !again.StartedAt.Equal(c.StartedAt) {
		t.Errorf("the same claim again is %+v, was %+v", again, c)
	}
	other, err := l.ClaimJob(t.Context(), l.w2, req)
	wantErr(t, err, catalog.ErrNotClaimable)
	if other.Credential != nil {
		t.Error("another worker got the credential by the same claim")
	}
}

func TestClaimOfANewAttemptIsFresh(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	first, f := l.running()
	l.must(l.ReleaseJob(t.Context(), f))
	second := l.claim(l.w2, first.JobID)
	if second.Attempt != 2 || second.SnapshotID == first.SnapshotID {
		t.Errorf("second attempt is %+v, first was %+v", second, first)
	}
	snapshot := catalog.NewID()
	l.exec("INSERT INTO jobs (id, tenant_id, source_id, type, snapshot_id) VALUES ($1, $2, $3, 'verify', $4)",
		snapshot, l.owner.tenant, l.owner.source, snapshot)
	if c := l.claim(l.w1, snapshot); c.SnapshotID != snapshot {
		t.Errorf("verify is to work on %v, want %v", c.SnapshotID, snapshot)
	}
}

func TestClaimRefusals(t *testing.T) { //nolint:tparallel // the steps share one catalog
	t.Parallel()
	l := newLine(t)
	tests := map[string]struct {
		job  func() uuid.UUID
		by   catalog.WorkerRef
		want error
	}{
		"unknown":     {uuid.New, l.w1, catalog.ErrGone},
		"taken":       {func() uuid.UUID { c, _ := l.running(); return c.JobID }, l.w2, catalog.ErrNotClaimable},
		"for another": {func() uuid.UUID { return l.post(only("w2")).ID }, l.w1, catalog.ErrNotClaimable},
		"canceled": {func() uuid.UUID {
			j := l.post()
			_, err := l.tenant().CancelJob(t.Context(), j.ID)
			l.must(err)
			return j.ID
		}, l.w1, catalog.ErrGone},
		"completed": {func() uuid.UUID {
			c, f := l.running()
			l.must(l.CompleteJob(t.Context(), f, l.success(c, l.w1)))
			return c.JobID
		}, l.w1, catalog.ErrGone},
		"not due": {func() uuid.UUID {
			c, f := l.running()
			l.must(l.CompleteJob(t.Context(), f, failed(c, job.ConnectFailed)))
			return c.JobID
		}, l.w1, catalog.ErrNotClaimable},
		"superseded worker": {func() uuid.UUID { return l.post().ID }, ref("w1", 7), catalog.ErrNotClaimable},
		"unknown worker":    {func() uuid.UUID { return l.post().ID }, ref("w9", 1), catalog.ErrNotClaimable},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := l.ClaimJob(t.Context(), tt.by, job.ClaimRequest{JobID: tt.job(), ClaimID: uuid.New()})
			wantErr(t, err, tt.want)
		})
	}
	t.Run("draining worker", func(t *testing.T) {
		_, err := l.operator().SetDrain(t.Context(), "w1", true)
		l.must(err)
		_, err = l.ClaimJob(t.Context(), l.w1, job.ClaimRequest{JobID: l.post().ID, ClaimID: uuid.New()})
		wantErr(t, err, catalog.ErrNotClaimable)
	})
}

func TestADueJobIsClaimableByTheCatalogsClock(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	c, f := l.running()
	l.must(l.CompleteJob(t.Context(), f, failed(c, job.ConnectFailed)))
	l.moveClock(time.Hour)
	if again := l.claim(l.w1, c.JobID); again.Attempt != 2 {
		t.Errorf("attempt is %d", again.Attempt)
	}
}

func TestOneOfManyClaimsWins(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	for _, same := range []bool{false, true} {
		for range 10 {
			id := l.post().ID
			shared := uuid.New()
			attempts := make([]int, 8)
			var all sync.WaitGroup
			for i := range attempts {
				all.Go(func() {
					claim := uuid.New()
					if same {
						claim = shared
					}
					c, err := l.ClaimJob(t.Context(), l.w1, job.ClaimRequest{JobID: id, ClaimID: claim})
					if err == nil {
						attempts[i] = c.Attempt
					} else if same {
						t.Errorf("the same claim got %v", err)
					}
				})
			}
			all.Wait()
			won := 0
			for _, a := range attempts {
				won += a
			}
			if want := map[bool]int{false: 1, true: 8}[same]; won != want {
				t.Fatalf("same claim id %v: attempts are %v, want %d of number 1", same, attempts, want)
			}
		}
	}
}

func TestJobCredentialOnlyUnderALease(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	credential := catalog.NewID()
	l.exec(`INSERT INTO credentials (id, tenant_id, kind, secret_type, ciphertext, key_id)
		VALUES ($1, $2, 'source', 'password', '\x01', 'k')`, credential, l.owner.tenant)
	l.exec("UPDATE sources SET credential_id = $1 WHERE id = $2", credential, l.owner.source)
	_, err := l.JobCredential(t.Context(), l.w1, credential)
	wantErr(t, err, catalog.ErrNotFound)

	c, f := l.running()
	got, err := l.JobCredential(t.Context(), l.w1, credential)
	l.must(err)
	if got.ID != credential || got.TenantID != l.owner.tenant || string(got.Ciphertext) != "\x01" {
		t.Errorf("credential is %+v", got)
	}
	for _, w := range []catalog.WorkerRef{l.w2, ref("w1", 2)} {
		_, err = l.JobCredential(t.Context(), w, credential)
		wantErr(t, err, catalog.ErrNotFound)
	}
	l.expire(c.JobID)
	_, err = l.JobCredential(t.Context(), l.w1, credential)
	wantErr(t, err, catalog.ErrNotFound)
	_, err = l.RenewLease(t.Context(), f, job.Progress{})
	l.must(err)
	l.must(l.CompleteJob(t.Context(), f, l.success(c, l.w1)))
	_, err = l.JobCredential(t.Context(), l.w1, credential)
	wantErr(t, err, catalog.ErrNotFound)
}

// pinner is from where a key is pinned; who does is the fence's worker.
var pinner = catalog.Actor{ID: "another", RemoteAddr: "192.0.2.9", RequestID: "r9"}

func TestPinHostKey(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	const first, second = "ssh-ed25519 AAAAC3Nz", "ssh-ed25519 BBBBC3Nz"
	_, f := l.running()
	wantConflict(t, l.PinHostKey(t.Context(), f, first, pinner), "host_key_not_trusted")
	l.exec(`UPDATE sources SET config = '{"trust_on_first_use": true}' WHERE id = $1`, l.owner.source)
	for _, bad := range []string{"", "ssh-ed25519", "ssh-ed25519 AAAA\nssh-rsa BBBB", "ssh-ed25519 A B", "SHA256:abc"} {
		wantConflict(t, l.PinHostKey(t.Context(), f, bad, pinner), "invalid_report")
	}
	stale := f
	stale.Attempt++
	wantErr(t, l.PinHostKey(t.Context(), stale, first, pinner), catalog.ErrFenced)

	l.must(l.PinHostKey(t.Context(), f, first, pinner))
	l.must(l.PinHostKey(t.Context(), f, first, pinner))
	wantConflict(t, l.PinHostKey(t.Context(), f, second, pinner), "host_key_changed")
	if n := l.count("SELECT count(*) FROM audit_events WHERE action = 'source.pin_host_key' AND actor_type = 'worker' AND actor_id = 'w1' AND remote_addr = '192.0.2.9' AND request_id = 'r9'"); n != 1 {
		t.Errorf("%d audit events tell of one pin", n)
	}
	if n := l.count("SELECT count(*) FROM sources WHERE id = $1 AND pinned_host_keys = ARRAY[$2]", l.owner.source, first); n != 1 {
		t.Error("the first key is not what is pinned")
	}
}

func TestOfManyFirstKeysOneIsPinned(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	l.exec(`UPDATE sources SET config = '{"trust_on_first_use": true}' WHERE id = $1`, l.owner.source)
	_, f := l.running()
	errs := make([]error, 6)
	var all sync.WaitGroup
	for i := range errs {
		all.Go(func() { errs[i] = l.PinHostKey(t.Context(), f, "ssh-ed25519 AAAA"+string(rune('A'+i)), pinner) })
	}
	all.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
		} else {
			wantConflict(t, err, "host_key_changed")
		}
	}
	if won != 1 {
		t.Errorf("%d keys were pinned", won)
	}
}

func TestQueueAnnouncementsReachOtherHubs(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	heard := make(chan struct{}, 10)
	ctx := t.Context()
	done := make(chan error, 1)
	go func() { done <- l.ListenQueue(ctx, "me", func() { heard <- struct{}{} }) }()
	t.Cleanup(func() { wantErr(t, <-done, context.Canceled) })
	<-heard // it listens
	l.must(l.AnnounceQueue(ctx, "me"))
	l.must(l.AnnounceQueue(ctx, "other"))
	<-heard
	l.post()
	testenv.Eventually(t, 2*time.Minute, func() bool {
		select {
		case <-l.QueueChanged():
			return true
		default:
			return false
		}
	}, "a new job signals this process")
	if len(heard) != 0 {
		t.Error("an announcement of its own was heard")
	}
}
