package catalog_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"xvault/archive/seal"
	"xvault/internal/job"
	"xvault/internal/secret"
	"xvault/internal/ticket"
	"xvault/store/catalog"
)

func (f *fleet) ring(keys string) *seal.Keyring {
	f.t.Helper()
	setting, err := seal.ParseKEKs(secret.New(keys))
	if err != nil {
		f.t.Fatal(err)
	}
	ring, err := f.Keyring(f.t.Context(), setting)
	if err != nil {
		f.t.Fatal(err)
	}
	return ring
}

func kek(name string, fill byte) string {
	return name + ":" + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{fill}, 32))
}

// Hubs that start at once sign with one key, which a rekey moves.
func TestOneTicketKeyForAllHubs(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	ring := f.ring(kek("k1", 1))
	var mu sync.Mutex
	var wg sync.WaitGroup
	seen := map[string]bool{}
	for range 8 {
		wg.Go(func() {
			key, err := f.TicketSigner(t.Context(), ring)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
			}
			seen[string(key)] = true
		})
	}
	wg.Wait()
	if len(seen) != 1 || f.count("SELECT count(*) FROM ticket_keys") != 1 || f.count("SELECT count(*) FROM audit_events WHERE action = 'ticket_key.create'") != 1 {
		t.Errorf("%d keys", len(seen))
	}
	both := f.ring(kek("k2", 2) + "," + kek("k1", 1))
	batch, err := f.operator().Rekey(t.Context(), both, "ticket_keys", uuid.Nil, 10)
	if err != nil || batch.Rewrapped != 1 {
		t.Fatalf("%+v, %v", batch, err)
	}
	key, err := f.TicketSigner(t.Context(), f.ring(kek("k2", 2)))
	if err != nil || !seen[string(key)] {
		t.Errorf("after a rekey: %v", err)
	}
	setting, err := seal.ParseKEKs(secret.New(kek("k1", 1)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Keyring(t.Context(), setting); err == nil {
		t.Error("a hub starts without the KEK that its ticket key needs")
	}
}

// download is a restore that a worker completed, and its ticket.
func (f *fleet) download(o owner, worker catalog.WorkerRef, snapshot uuid.UUID) (catalog.Job, ticket.Ticket) {
	f.t.Helper()
	scope := f.Tenant(o.tenant, catalog.Actor{Type: catalog.ActorAPIKey, ID: "k"})
	made, err := scope.CreateDownload(f.t.Context(), catalog.DownloadRequest{
		SnapshotID: snapshot, Payload: job.RestorePayload{Format: job.FormatTar, Paths: []string{"/a <&> b"}}, TTL: time.Hour,
	})
	if err != nil {
		f.t.Fatal(err)
	}
	if tickets, err := scope.JobTickets(f.t.Context(), []uuid.UUID{made.ID}); err != nil || len(tickets) != 0 {
		f.t.Errorf("a queued restore has a ticket: %v, %v", tickets, err)
	}
	c, err := f.ClaimJob(f.t.Context(), worker, job.ClaimRequest{JobID: made.ID, ClaimID: uuid.New()})
	if err != nil || c.Snapshot == nil || c.Snapshot.Recipient != "age1x" || c.SnapshotID != snapshot {
		f.t.Fatalf("claimed as %+v, %v", c, err)
	}
	err = f.CompleteJob(f.t.Context(), catalog.Fence{JobID: made.ID, WorkerID: worker.ID, Incarnation: worker.Incarnation, Attempt: c.Attempt},
		job.CompleteRequest{Attempt: c.Attempt, Status: job.Completed})
	if err != nil {
		f.t.Fatal(err)
	}
	tickets, err := scope.JobTickets(f.t.Context(), []uuid.UUID{made.ID})
	if err != nil || len(tickets) != 1 {
		f.t.Fatalf("tickets %v, %v", tickets, err)
	}
	return made, tickets[made.ID].Ticket
}

func TestRedeemTicket(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	o := f.owner()
	reg, done := f.join("w1")
	f.exec("UPDATE workers SET public_url = 'https://w1'")
	w := ref("w1", done.Incarnation)
	snapshot := f.snapshotOf(o, "w1", reg.StorageID)
	made, good := f.download(o, w, snapshot)
	redeem := func(worker string, tk ticket.Ticket) (catalog.Redeemed, error) {
		t.Helper()
		return f.Operator(catalog.Actor{Type: catalog.ActorWorker, ID: worker}).RedeemTicket(t.Context(), worker, tk, "192.0.2.1")
	}
	got, err := redeem("w1", good)
	if err != nil || got.TenantID != o.tenant || got.SnapshotID != snapshot || got.Payload.Paths[0] != "/a <&> b" || got.Snapshot.Identity.ID != o.key {
		t.Fatalf("%+v, %v", got, err)
	}
	if n := f.count("SELECT count(*) FROM audit_events WHERE action = 'ticket.redeem' AND tenant_id = $1 AND detail->>'client' = '192.0.2.1'", o.tenant); n != 1 {
		t.Errorf("%d audit events", n)
	}

	// A signature alone is not enough: each fact has to be the row's.
	_, other := f.download(o, w, snapshot)
	for what, change := range map[string]func(*ticket.Ticket){
		"another worker":    func(tk *ticket.Ticket) { tk.Worker = "w2" },
		"another job":       func(tk *ticket.Ticket) { tk.Subject = other.Subject },
		"another kind":      func(tk *ticket.Ticket) { tk.Kind = ticket.Files },
		"another selection": func(tk *ticket.Ticket) { tk.Selection[0] ^= 1 },
		"another ticket":    func(tk *ticket.Ticket) { tk.ID = other.ID },
		"no ticket":         func(tk *ticket.Ticket) { tk.ID = uuid.New() },
	} {
		forged := good
		change(&forged)
		if _, err := redeem("w1", forged); !errors.Is(err, catalog.ErrNotFound) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := redeem("w2", good); !errors.Is(err, catalog.ErrNotFound) {
		t.Errorf("from another worker: %v", err)
	}

	f.exec("UPDATE snapshots SET status = 'deleting' WHERE id = $1", snapshot)
	if _, err := redeem("w1", good); err != nil {
		t.Errorf("while it can be taken back: %v", err)
	}
	f.exec("UPDATE snapshots SET status = 'deleted' WHERE id = $1", snapshot)
	if _, err := redeem("w1", good); !errors.Is(err, catalog.ErrTicketGone) {
		t.Errorf("deleted: %v", err)
	}
	f.exec("UPDATE snapshots SET status = 'completed' WHERE id = $1", snapshot)

	scope := f.Tenant(o.tenant, catalog.Actor{Type: catalog.ActorAPIKey, ID: "k"})
	if err := f.Tenant(f.owner().tenant, catalog.Actor{}).RevokeDownload(t.Context(), made.ID); !errors.Is(err, catalog.ErrNotFound) {
		t.Errorf("revoked by another tenant: %v", err)
	}
	for range 2 {
		if err := scope.RevokeDownload(t.Context(), made.ID); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := redeem("w1", good); !errors.Is(err, catalog.ErrTicketRevoked) {
		t.Errorf("revoked: %v", err)
	}
	if _, err := redeem("w1", other); err != nil {
		t.Errorf("the other one: %v", err)
	}
	f.moveClock(59 * time.Minute)
	if _, err := redeem("w1", other); err != nil {
		t.Errorf("before its time: %v", err)
	}
	f.moveClock(61 * time.Minute)
	if _, err := redeem("w1", other); !errors.Is(err, catalog.ErrTicketExpired) {
		t.Errorf("after its time: %v", err)
	}
}

func TestFilesTickets(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	o := f.owner()
	reg, _ := f.join("w1")
	f.exec("UPDATE workers SET public_url = 'https://w1'")
	snapshot := f.snapshotOf(o, "w1", reg.StorageID)
	scope := f.Tenant(o.tenant, catalog.Actor{Type: catalog.ActorAPIKey, ID: "k"})
	made, err := scope.FilesTicket(t.Context(), snapshot, 15*time.Minute)
	if err != nil || made.PublicURL != "https://w1" || made.Ticket.Subject != snapshot {
		t.Fatalf("%+v, %v", made, err)
	}
	worker := f.Operator(catalog.Actor{Type: catalog.ActorWorker, ID: "w1"})
	if got, err := worker.RedeemTicket(t.Context(), "w1", made.Ticket, ""); err != nil || got.SnapshotID != snapshot {
		t.Errorf("%+v, %v", got, err)
	}
	f.moveClock(16 * time.Minute)
	if _, err := worker.RedeemTicket(t.Context(), "w1", made.Ticket, ""); !errors.Is(err, catalog.ErrTicketExpired) {
		t.Errorf("expired: %v", err)
	}
	if n, err := f.PruneTickets(t.Context(), 10); err != nil || n != 0 {
		t.Errorf("pruned %d, %v", n, err)
	}
	f.moveClock(25 * time.Hour)
	if n, err := f.PruneTickets(t.Context(), 10); err != nil || n != 1 {
		t.Errorf("pruned %d, %v", n, err)
	}
}
