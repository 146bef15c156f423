package catalog_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"xvault/archive/seal"
	"xvault/internal/job"
	"xvault/internal/secret"
	"xvault/internal/testenv"
	"xvault/store/catalog"
)

// fleet is a catalog with workers in it, and a second way in for fixtures.
type fleet struct {
	*catalog.DB
	t   *testing.T
	url string
	raw *pgxpool.Pool
}

func newFleet(t *testing.T) *fleet {
	t.Helper()
	url := testenv.Catalog(t)
	db, err := catalog.Open(t.Context(), catalog.Config{URL: secret.New(url), MaxConns: 8})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	raw, err := pgxpool.New(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(raw.Close)
	return &fleet{DB: db, t: t, url: url, raw: raw}
}

func (f *fleet) exec(sql string, args ...any) {
	f.t.Helper()
	if _, err := f.raw.Exec(f.t.Context(), sql, args...); err != nil {
		f.t.Fatalf("%s: %v", sql, err)
	}
}

func (f *fleet) count(sql string, args ...any) int {
	f.t.Helper()
	var n int
	if err := f.raw.QueryRow(f.t.Context(), sql, args...).Scan(&n); err != nil {
		f.t.Fatalf("%s: %v", sql, err)
	}
	return n
}

func (f *fleet) operator() catalog.Scope {
	return f.Operator(catalog.Actor{Type: catalog.ActorOperator, ID: "operator", RequestID: "r1"})
}

func recipient(t *testing.T) string {
	t.Helper()
	_, recipient, err := seal.NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	return recipient
}

func registration(t *testing.T, id string) catalog.Registration {
	t.Helper()
	return catalog.Registration{
		RegisterRequest: job.RegisterRequest{
			WorkerID: id, Name: "a worker", Version: "1", AgeRecipient: recipient(t),
			Capabilities:    job.Capabilities{SourceTypes: []string{"sftp"}, JobTypes: []job.Kind{job.Backup}, Storage: []string{"local_fs"}},
			StorageBasePath: "/srv/" + id, StorageID: uuid.New(), Slots: 4,
		},
		From: catalog.Actor{Type: catalog.ActorWorker, ID: id, RemoteAddr: "192.0.2.1"},
	}
}

// join registers a new worker.
func (f *fleet) join(id string) (catalog.Registration, catalog.Registered) {
	f.t.Helper()
	reg := registration(f.t, id)
	reg.Join = true
	done, err := f.RegisterWorker(f.t.Context(), reg)
	if err != nil {
		f.t.Fatalf("register %s: %v", id, err)
	}
	reg.Join, reg.Token = false, done.Token
	return reg, done
}

func (f *fleet) worker(id string) catalog.Worker {
	f.t.Helper()
	w, err := f.operator().Worker(f.t.Context(), id)
	if err != nil {
		f.t.Fatalf("worker %s: %v", id, err)
	}
	return w
}

func ref(id string, incarnation int64) catalog.WorkerRef {
	return catalog.WorkerRef{ID: id, Incarnation: incarnation}
}

func TestRegisterMakesIncarnations(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	reg, first := f.join("w1")
	if first.Incarnation != 1 {
		t.Errorf("incarnation of the first start is %d", first.Incarnation)
	}
	second, err := f.RegisterWorker(t.Context(), reg)
	if err != nil {
		t.Fatal(err)
	}
	if second.Incarnation != 2 || second.Token.Equal(first.Token) {
		t.Errorf("second start: incarnation %d, same token %t", second.Incarnation, second.Token.Equal(first.Token))
	}
	if w, err := f.WorkerByToken(t.Context(), second.Token); err != nil || w.ID != "w1" || w.Incarnation != 2 {
		t.Errorf("current token: %+v, %v", w, err)
	}
	if w, err := f.WorkerByToken(t.Context(), first.Token); !errors.Is(err, catalog.ErrSuperseded) || w.ID != "w1" {
		t.Errorf("earlier token: %+v, %v", w, err)
	}
	if _, err := f.WorkerByToken(t.Context(), secret.New("xvw_nobody")); !errors.Is(err, catalog.ErrBadToken) {
		t.Errorf("nobody's token: %v", err)
	}
	if n := f.count(`SELECT count(*) FROM audit_events WHERE action = 'worker.register' AND actor_type = 'worker'
		AND actor_id = 'w1' AND object_id = 'w1' AND remote_addr = '192.0.2.1'`); n != 2 {
		t.Errorf("%d audit events of registrations, want 2", n)
	}
}

func TestRegisterRefusals(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	reg1, first := f.join("w1")
	_, other := f.join("w2")
	reg1.Token = first.Token
	if _, err := f.RegisterWorker(t.Context(), reg1); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		id    string
		join  bool
		token secret.Text
		want  error
	}{
		"join token, known id":          {"w1", true, secret.Text{}, catalog.ErrNotYours},
		"another worker's token":        {"w1", false, other.Token, catalog.ErrNotYours},
		"own token, unknown id":         {"w3", false, other.Token, catalog.ErrNotYours},
		"superseded token":              {"w1", false, first.Token, catalog.ErrSuperseded},
		"superseded token, another id":  {"w2", false, first.Token, catalog.ErrNotYours},
		"no token at all":               {"w1", false, secret.Text{}, catalog.ErrBadToken},
		"made-up token, known id":       {"w1", false, secret.New("xvw_guess"), catalog.ErrBadToken},
		"superseded token, unknown id":  {"w3", false, first.Token, catalog.ErrNotYours},
		"join token, known id, with id": {"w1", true, other.Token, catalog.ErrNotYours},
	}
	before := f.worker("w1")
	for name, tt := range tests {
		reg := registration(t, tt.id)
		reg.Join, reg.Token, reg.RegistrationID = tt.join, tt.token, uuid.New()
		if _, err := f.RegisterWorker(t.Context(), reg); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
	if after := f.worker("w1"); after.Incarnation != before.Incarnation || after.AgeRecipient != before.AgeRecipient {
		t.Errorf("a refused registration changed the worker: %+v", after)
	}
	if _, err := f.operator().Worker(t.Context(), "w3"); !errors.Is(err, catalog.ErrNotFound) {
		t.Errorf("a refused registration made a worker: %v", err)
	}
}

func TestRegistrationWhoseAnswerWasLost(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	reg := registration(t, "w1")
	reg.Join, reg.RegistrationID = true, uuid.New()
	if _, err := f.RegisterWorker(t.Context(), reg); err != nil {
		t.Fatal(err)
	}
	again, err := f.RegisterWorker(t.Context(), reg)
	if err != nil {
		t.Fatalf("the same start, join token: %v", err)
	}
	if _, _, err := f.Heartbeat(t.Context(), ref("w1", again.Incarnation), heartbeat(reg.StorageID)); err != nil {
		t.Fatal(err)
	}
	if _, err := f.RegisterWorker(t.Context(), reg); !errors.Is(err, catalog.ErrNotYours) {
		t.Errorf("the same start after its token showed up: %v, want ErrNotYours", err)
	}

	reg.Join, reg.Token, reg.RegistrationID = false, again.Token, uuid.New()
	if _, err := f.RegisterWorker(t.Context(), reg); err != nil {
		t.Fatal(err)
	}
	third, err := f.RegisterWorker(t.Context(), reg)
	if err != nil {
		t.Fatalf("the same start, own token: %v", err)
	}
	if _, _, err := f.Heartbeat(t.Context(), ref("w1", third.Incarnation), heartbeat(reg.StorageID)); err != nil {
		t.Fatal(err)
	}
	if _, err := f.RegisterWorker(t.Context(), reg); !errors.Is(err, catalog.ErrSuperseded) {
		t.Errorf("the same start after its token showed up: %v, want ErrSuperseded", err)
	}
}

func TestTwoProcessesRegisterAtOnce(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	errs := make(chan error)
	const starts = 8
	for range starts {
		reg := registration(t, "w1")
		reg.Join = true
		go func() {
			_, err := f.RegisterWorker(context.WithoutCancel(t.Context()), reg)
			errs <- err
		}()
	}
	won := 0
	for range starts {
		switch err := <-errs; {
		case err == nil:
			won++
		case !errors.Is(err, catalog.ErrNotYours):
			t.Errorf("unexpected: %v", err)
		}
	}
	if won != 1 {
		t.Errorf("%d of %d joined under one id, want 1", won, starts)
	}
}

func TestPastTokensAreBounded(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	reg, first := f.join("w1")
	for range 40 {
		done, err := f.RegisterWorker(t.Context(), reg)
		if err != nil {
			t.Fatal(err)
		}
		reg.Token = done.Token
	}
	if n := f.count("SELECT count(*) FROM worker_past_tokens"); n != 32 {
		t.Errorf("%d past tokens kept, want 32", n)
	}
	if _, err := f.WorkerByToken(t.Context(), first.Token); !errors.Is(err, catalog.ErrBadToken) {
		t.Errorf("a forgotten token: %v", err)
	}
}

func heartbeat(storage uuid.UUID) job.Heartbeat {
	return job.Heartbeat{
		Status: catalog.WorkerOnline, Slots: 4, SlotsBusy: 1, DiskFreeBytes: 10, DiskTotalBytes: 20,
		StorageState: job.StorageOK, StorageID: storage,
	}
}

func TestHeartbeat(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	reg, _ := f.join("w1")
	drain, _, err := f.Heartbeat(t.Context(), ref("w1", 1), heartbeat(reg.StorageID))
	if err != nil || drain {
		t.Fatalf("heartbeat: drain %t, %v", drain, err)
	}
	w := f.worker("w1")
	if w.Status != catalog.WorkerOnline || w.SlotsBusy != 1 || w.DiskFreeBytes != 10 || w.DiskTotalBytes != 20 || w.StorageState != job.StorageOK {
		t.Errorf("worker after heartbeat: %+v", w)
	}
	if _, _, err := f.Heartbeat(t.Context(), ref("w1", 2), heartbeat(reg.StorageID)); !errors.Is(err, catalog.ErrSuperseded) {
		t.Errorf("heartbeat of another incarnation: %v", err)
	}
}

func TestStorageIdentity(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	reg, _ := f.join("w1")
	own := reg.StorageID
	beat := func(state string, id uuid.UUID) string {
		t.Helper()
		hb := heartbeat(id)
		hb.StorageState = state
		if _, _, err := f.Heartbeat(t.Context(), ref("w1", f.worker("w1").Incarnation), hb); err != nil {
			t.Fatal(err)
		}
		w := f.worker("w1")
		if w.StorageID == nil || *w.StorageID != own {
			t.Errorf("after %s %s the registered storage is %v, want %s", state, id, w.StorageID, own)
		}
		return w.StorageState
	}
	for _, step := range []struct {
		state string
		id    uuid.UUID
		want  string
	}{
		{job.StorageOK, own, job.StorageOK},
		{job.StorageMissing, uuid.Nil, job.StorageMissing},
		{job.StorageOK, uuid.New(), job.StorageForeign}, // a worker that did not notice
		{job.StorageForeign, uuid.New(), job.StorageForeign},
		{job.StorageOK, own, job.StorageOK},
	} {
		if got := beat(step.state, step.id); got != step.want {
			t.Errorf("heartbeat %s of %s: state %s, want %s", step.state, step.id, got, step.want)
		}
	}
}

func TestRegisteringWithAnotherStorage(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	reg, _ := f.join("w1")
	own := reg.StorageID
	restart := func(id uuid.UUID) catalog.Worker {
		t.Helper()
		reg.StorageID = id
		done, err := f.RegisterWorker(t.Context(), reg)
		if err != nil {
			t.Fatal(err)
		}
		reg.Token = done.Token
		return f.worker("w1")
	}
	snapshot := f.snapshot("w1", own)
	if w := restart(uuid.New()); *w.StorageID != own || w.StorageState != job.StorageForeign {
		t.Errorf("another storage while snapshots stand on the first: %s %s", w.StorageID, w.StorageState)
	}
	if w := restart(uuid.Nil); *w.StorageID != own || w.StorageState != job.StorageMissing {
		t.Errorf("no storage: %s %s", w.StorageID, w.StorageState)
	}
	if w := restart(own); *w.StorageID != own || w.StorageState != job.StorageOK {
		t.Errorf("the first storage again: %s %s", w.StorageID, w.StorageState)
	}
	f.exec("UPDATE snapshots SET status = 'deleted' WHERE id = $1", snapshot)
	fresh := uuid.New()
	if w := restart(fresh); *w.StorageID != fresh || w.StorageState != job.StorageOK {
		t.Errorf("another storage when nothing stands on the first: %s %s", w.StorageID, w.StorageState)
	}
}

func TestAWorkerWithoutStorageGetsItsIdentityLater(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	reg := registration(t, "w1")
	reg.Join, reg.StorageID = true, uuid.Nil
	if _, err := f.RegisterWorker(t.Context(), reg); err != nil {
		t.Fatal(err)
	}
	if w := f.worker("w1"); w.StorageID != nil || w.StorageState != job.StorageMissing {
		t.Errorf("joined without storage: %v %s", w.StorageID, w.StorageState)
	}
	hb := heartbeat(uuid.New())
	hb.StorageState = job.StorageForeign
	if _, _, err := f.Heartbeat(t.Context(), ref("w1", 1), hb); err != nil {
		t.Fatal(err)
	}
	if w := f.worker("w1"); w.StorageID != nil {
		t.Errorf("a foreign storage became the worker's own")
	}
	own := uuid.New()
	if _, _, err := f.Heartbeat(t.Context(), ref("w1", 1), heartbeat(own)); err != nil {
		t.Fatal(err)
	}
	if w := f.worker("w1"); w.StorageID == nil || *w.StorageID != own || w.StorageState != job.StorageOK {
		t.Errorf("first storage shown: %v %s", w.StorageID, w.StorageState)
	}
}

func TestSilentWorkersGoOffline(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	reg, _ := f.join("silent")
	f.join("lively")
	f.exec("UPDATE workers SET last_seen_at = xvault_now() - interval '44 seconds'")
	if ids, err := f.MarkSilentWorkers(t.Context()); err != nil || len(ids) != 0 {
		t.Fatalf("after 44 s: %v, %v", ids, err)
	}
	f.exec("UPDATE workers SET last_seen_at = xvault_now() - interval '46 seconds' WHERE id = 'silent'")
	ids, err := f.MarkSilentWorkers(t.Context())
	if err != nil || fmt.Sprint(ids) != "[silent]" {
		t.Fatalf("after 46 s: %v, %v", ids, err)
	}
	if ids, err := f.MarkSilentWorkers(t.Context()); err != nil || len(ids) != 0 {
		t.Errorf("marked twice: %v, %v", ids, err)
	}
	if got := f.worker("silent").Status; got != catalog.WorkerOffline {
		t.Errorf("status of the silent one: %s", got)
	}
	if _, _, err := f.Heartbeat(t.Context(), ref("silent", 1), heartbeat(reg.StorageID)); err != nil {
		t.Fatal(err)
	}
	if got := f.worker("silent").Status; got != catalog.WorkerOnline {
		t.Errorf("status after it spoke again: %s", got)
	}
}

func TestDrainAndResume(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	reg, _ := f.join("w1")
	w, err := f.operator().SetDrain(t.Context(), "w1", true)
	if err != nil || w.Status != catalog.WorkerDraining || !w.DrainRequested {
		t.Fatalf("drain: %+v, %v", w, err)
	}
	drain, _, err := f.Heartbeat(t.Context(), ref("w1", 1), heartbeat(reg.StorageID))
	if err != nil || !drain {
		t.Fatalf("heartbeat while draining: %t, %v", drain, err)
	}
	if got := f.worker("w1").Status; got != catalog.WorkerDraining {
		t.Errorf("a heartbeat that does not know of it yet made it %s", got)
	}
	if done, err := f.RegisterWorker(t.Context(), reg); err != nil {
		t.Fatal(err)
	} else if got := f.worker("w1"); got.Status != catalog.WorkerDraining || done.Incarnation != 2 {
		t.Errorf("a restart forgot the drain: %+v", got)
	}
	if w, err = f.operator().SetDrain(t.Context(), "w1", false); err != nil || w.DrainRequested {
		t.Fatalf("resume: %+v, %v", w, err)
	}
	if drain, _, err = f.Heartbeat(t.Context(), ref("w1", 2), heartbeat(reg.StorageID)); err != nil || drain {
		t.Fatalf("heartbeat after resume: %t, %v", drain, err)
	}
	if got := f.worker("w1").Status; got != catalog.WorkerOnline {
		t.Errorf("status after resume: %s", got)
	}
	for _, action := range []string{"worker.drain", "worker.resume"} {
		if n := f.count("SELECT count(*) FROM audit_events WHERE action = $1 AND actor_type = 'operator' AND request_id = 'r1'", action); n != 1 {
			t.Errorf("%d audit events %s, want 1", n, action)
		}
	}
	if _, err := f.operator().SetDrain(t.Context(), "nobody", true); !errors.Is(err, catalog.ErrNotFound) {
		t.Errorf("drain of no worker: %v", err)
	}
}

func TestRemovedWorkerIsGone(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	reg, done := f.join("w1")
	snapshot := f.snapshot("w1", reg.StorageID)
	if _, err := f.RegisterWorker(t.Context(), reg); err != nil {
		t.Fatal(err)
	}
	if err := f.operator().RemoveWorker(t.Context(), "w1"); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WorkerByToken(t.Context(), done.Token); !errors.Is(err, catalog.ErrBadToken) {
		t.Errorf("token of a removed worker: %v", err)
	}
	if _, _, err := f.Heartbeat(t.Context(), ref("w1", 2), heartbeat(reg.StorageID)); !errors.Is(err, catalog.ErrSuperseded) {
		t.Errorf("heartbeat of a removed worker: %v", err)
	}
	if _, err := f.operator().Snapshot(t.Context(), snapshot); err != nil {
		t.Errorf("its snapshot: %v", err)
	}
	if err := f.operator().RemoveWorker(t.Context(), "w1"); !errors.Is(err, catalog.ErrNotFound) {
		t.Errorf("removing twice: %v", err)
	}
	if _, again := f.join("w1"); again.Incarnation != 1 {
		t.Errorf("joining again: incarnation %d", again.Incarnation)
	}
}

func TestWorkersAreTheOperators(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.join("w1")
	tenant := f.Tenant(uuid.New(), catalog.Actor{Type: catalog.ActorAPIKey, ID: "k"})
	_, getErr := tenant.Worker(t.Context(), "w1")
	_, listErr := tenant.Workers(t.Context(), 10, "")
	_, drainErr := tenant.SetDrain(t.Context(), "w1", true)
	for name, err := range map[string]error{
		"get": getErr, "list": listErr, "drain": drainErr, "remove": tenant.RemoveWorker(t.Context(), "w1"),
	} {
		if !errors.Is(err, catalog.ErrNotFound) {
			t.Errorf("%s in a tenant's scope: %v", name, err)
		}
	}
}

func TestWorkersArePaged(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	for i := range 7 {
		f.join(fmt.Sprintf("w%d", i))
	}
	// Two of the same microsecond must not fall between two pages.
	f.exec("UPDATE workers SET created_at = (SELECT created_at FROM workers WHERE id = 'w3') WHERE id = 'w4'")
	var got []string
	cursor := ""
	for range 8 {
		page, err := f.operator().Workers(t.Context(), 2, cursor)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		for _, w := range page {
			got = append(got, w.ID)
		}
		cursor = catalog.WorkerCursor(page[len(page)-1])
	}
	if want := "w6 w5 w4 w3 w2 w1 w0"; strings.Join(got, " ") != want {
		t.Errorf("pages hold %q, want %q", strings.Join(got, " "), want)
	}
	for _, cursor := range []string{"?", "YWJj", catalog.EncodeCursor(uuid.New())} {
		if _, err := f.operator().Workers(t.Context(), 2, cursor); !errors.Is(err, catalog.ErrBadCursor) {
			t.Errorf("cursor %q: %v", cursor, err)
		}
	}
}

func TestNoTokenInTheCatalog(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	reg, first := f.join("w1")
	second, err := f.RegisterWorker(t.Context(), reg)
	if err != nil {
		t.Fatal(err)
	}
	dump := testenv.DumpPostgres(t, f.url)
	if !strings.Contains(dump, reg.AgeRecipient) {
		t.Fatal("the dump does not hold the worker at all")
	}
	for _, token := range []secret.Text{first.Token, second.Token} {
		if strings.Contains(dump, token.Reveal()) {
			t.Error("a token stands in the catalog")
		}
	}
}
