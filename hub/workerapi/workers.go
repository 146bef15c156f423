package workerapi

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"

	"xvault/archive/seal"
	"xvault/hub/problem"
	"xvault/internal/job"
	"xvault/store/catalog"
)

const (
	maxSlots     = 4096
	maxReconcile = 200_000 // ids in one request
)

// register is not behind authenticate: it takes the join token as well.
func (a *api) register(w http.ResponseWriter, r *http.Request) {
	token, ok := bearer(r)
	if !ok {
		a.refuse(w, r, catalog.ErrBadToken)
		return
	}
	join, err := a.mayTryToRegister(r.Context(), token)
	if err != nil {
		a.refuse(w, r, err)
		return
	}
	var req job.RegisterRequest
	if err := decode(w, r, smallBody, &req); err != nil {
		a.refuse(w, r, err)
		return
	}
	if faults := registrationFaults(req); len(faults) > 0 {
		a.refuse(w, r, problem.Validation(faults...))
		return
	}
	keys, err := a.db.TicketPublicKeys(r.Context())
	if err != nil {
		a.refuse(w, r, err)
		return
	}
	reg := catalog.Registration{RegisterRequest: req, Join: join, Token: token, From: actor(r, req.WorkerID)}
	done, err := a.db.RegisterWorker(r.Context(), reg)
	if err == nil {
		a.log.LogAttrs(r.Context(), slog.LevelInfo, "worker registered", append(callAttrs(r),
			slog.String("worker_id", req.WorkerID), slog.Int64("incarnation", done.Incarnation), slog.String("version", req.Version))...)
	}
	a.answer(w, r, job.RegisterResponse{
		Token: done.Token.Reveal(), Incarnation: done.Incarnation, HeartbeatEveryMS: job.HeartbeatEvery.Milliseconds(),
		KnownSince: done.KnownSince, TicketKeys: keys,
	}, err)
}

func registrationFaults(req job.RegisterRequest) []problem.FieldError {
	var faults []problem.FieldError
	fault := func(wrong bool, field, message string) {
		if wrong {
			faults = append(faults, problem.FieldError{Location: "body." + field, Message: message})
		}
	}
	fault(!job.ValidWorkerID(req.WorkerID), "worker_id", "it must be 1 to 64 characters of A-Z a-z 0-9 _ and -")
	fault(!shortText(req.Name, 200), "name", "it must be printable text of at most 200 characters")
	fault(!shortText(req.Version, 100), "version", "it must be printable text of at most 100 characters")
	fault(seal.ValidRecipient(req.AgeRecipient) != nil, "age_recipient", "it must be an age X25519 recipient (age1...)")
	fault(!shortText(req.StorageBasePath, 4096) || req.StorageBasePath != "" && !strings.HasPrefix(req.StorageBasePath, "/"),
		"storage_base_path", "it must be an absolute path")
	fault(!publicURL(req.PublicURL), "public_url", "it must be an http or https address without user, query or fragment")
	fault(req.Slots < 0 || req.Slots > maxSlots, "slots", fmt.Sprintf("it must be between 0 and %d", maxSlots))
	c := req.Capabilities
	fault(len(c.SourceTypes) > 64 || len(c.JobTypes) > 64 || len(c.Storage) > 64, "capabilities", "each list may have at most 64 members")
	return faults
}

// shortText refuses what would break a table or a log line.
func shortText(s string, limit int) bool {
	return utf8.ValidString(s) && utf8.RuneCountInString(s) <= limit &&
		!strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}

func publicURL(s string) bool {
	if s == "" {
		return true
	}
	u, err := url.Parse(s)
	return err == nil && len(s) <= 2048 && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" &&
		u.User == nil && u.RawQuery == "" && u.Fragment == ""
}

func (a *api) heartbeat(ctx context.Context, c *call, hb job.Heartbeat) (job.HeartbeatResponse, error) {
	if hb.Status == "" {
		hb.Status = catalog.WorkerOnline
	}
	if hb.StorageState == "" {
		hb.StorageState = job.StorageOK
	}
	if faults := heartbeatFaults(hb); len(faults) > 0 {
		return job.HeartbeatResponse{}, problem.Validation(faults...)
	}
	drain, list, err := a.db.Heartbeat(ctx, c.ref(), hb)
	known := c.worker.StorageID
	foreign := known != nil && hb.StorageID != uuid.Nil && hb.StorageID != *known
	return job.HeartbeatResponse{Drain: drain, StorageForeign: foreign, List: list}, err
}

func heartbeatFaults(hb job.Heartbeat) []problem.FieldError {
	var faults []problem.FieldError
	fault := func(wrong bool, field, message string) {
		if wrong {
			faults = append(faults, problem.FieldError{Location: "body." + field, Message: message})
		}
	}
	fault(hb.Status != catalog.WorkerOnline && hb.Status != catalog.WorkerDraining, "status", "it must be online or draining")
	fault(hb.Slots < 0 || hb.Slots > maxSlots, "slots", fmt.Sprintf("it must be between 0 and %d", maxSlots))
	fault(hb.SlotsBusy < 0 || hb.SlotsBusy > maxSlots, "slots_busy", fmt.Sprintf("it must be between 0 and %d", maxSlots))
	fault(hb.DiskFreeBytes < 0, "disk_free_bytes", "it must not be negative")
	fault(hb.DiskTotalBytes < 0, "disk_total_bytes", "it must not be negative")
	switch hb.StorageState {
	case job.StorageOK, job.StorageMissing, job.StorageForeign:
	default:
		fault(true, "storage_state", "it must be ok, missing or foreign")
	}
	return faults
}

func (a *api) sweep(ctx context.Context, c *call, r job.SweepReport) (done, error) {
	if r.Orphans > 0 || r.Missing > 0 {
		a.log.LogAttrs(ctx, slog.LevelWarn, "a worker's sweep found differences", append(callAttrs(c.r),
			slog.Int64("snapshots", r.Snapshots), slog.Int64("orphans", r.Orphans), slog.Int64("orphan_bytes", r.OrphanBytes), slog.Int64("missing", r.Missing))...)
	}
	return done{}, a.db.KeepSweep(ctx, c.ref(), r)
}

func (a *api) reconcile(ctx context.Context, c *call, req job.ReconcileRequest) (job.ReconcileResponse, error) {
	if len(req.Snapshots) > maxReconcile {
		return job.ReconcileResponse{}, problem.Field("body.snapshots", fmt.Sprintf("at most %d ids fit in one request", maxReconcile))
	}
	res, err := a.db.Reconcile(ctx, c.ref(), req)
	if len(res.Unknown)+len(res.Missing) > 0 {
		a.log.LogAttrs(ctx, slog.LevelWarn, "storage and catalog differ", append(callAttrs(c.r),
			slog.Int("unknown", len(res.Unknown)), slog.Int("missing", len(res.Missing)))...)
	}
	return res, err
}
