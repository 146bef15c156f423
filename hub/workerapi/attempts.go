package workerapi

import (
	"context"
	"log/slog"
	"strings"

	"github.com/google/uuid"
	"golang.org/x/crypto/ssh"

	"xvault/hub/problem"
	"xvault/internal/failpoint"
	"xvault/internal/job"
	"xvault/store/catalog"
)

// fence names the attempt of this call: job, worker, incarnation and number.
func (c *call) fence(attempt int) (catalog.Fence, error) {
	id, err := c.pathID()
	if err != nil {
		return catalog.Fence{}, err
	}
	if attempt < 1 {
		return catalog.Fence{}, problem.Field("body.attempt", "it must be the number that the claim was answered with")
	}
	return c.fenceOf(id, attempt), nil
}

func (c *call) fenceOf(jobID uuid.UUID, attempt int) catalog.Fence {
	return catalog.Fence{JobID: jobID, WorkerID: c.worker.ID, Incarnation: c.worker.Incarnation, Attempt: attempt, Token: &c.token}
}

func (a *api) renew(ctx context.Context, c *call, req job.RenewRequest) (job.RenewResponse, error) {
	fence, err := c.fence(req.Attempt)
	if err != nil {
		return job.RenewResponse{}, err
	}
	return a.db.RenewLease(ctx, fence, req.Progress)
}

func (a *api) hostKey(ctx context.Context, c *call, req job.HostKeyRequest) (job.HostKeyResponse, error) {
	fence, err := c.fence(req.Attempt)
	if err != nil {
		return job.HostKeyResponse{}, err
	}
	key, err := canonicalHostKey(req.Key)
	if err != nil {
		return job.HostKeyResponse{}, err
	}
	if err := a.db.PinHostKey(ctx, fence, key, actor(c.r, c.worker.ID)); err != nil {
		return job.HostKeyResponse{}, err
	}
	a.log.LogAttrs(ctx, slog.LevelInfo, "host key pinned on first use", attemptAttrs(c, fence)...)
	return job.HostKeyResponse{Pinned: true}, nil
}

// canonicalHostKey drops comments and blanks, so that equal keys are equal text.
func canonicalHostKey(line string) (string, error) {
	key, _, options, rest, err := ssh.ParseAuthorizedKey([]byte(line))
	if err != nil || len(options) > 0 || len(rest) > 0 {
		return "", problem.Field("body.key", "it must be one public key line, such as ssh-ed25519 AAAA...")
	}
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key))), nil
}

func (a *api) finalize(ctx context.Context, c *call, req job.AttemptRequest) (done, error) {
	fence, err := c.fence(req.Attempt)
	if err != nil {
		return done{}, err
	}
	if err := a.db.FinalizeJob(ctx, fence); err != nil {
		return done{}, err
	}
	return done{}, failpoint.Hit("finalize.after_commit")
}

func (a *api) release(ctx context.Context, c *call, req job.AttemptRequest) (done, error) {
	fence, err := c.fence(req.Attempt)
	if err != nil {
		return done{}, err
	}
	if err := a.db.ReleaseJob(ctx, fence); err != nil {
		return done{}, err
	}
	a.log.LogAttrs(ctx, slog.LevelInfo, "job handed back", attemptAttrs(c, fence)...)
	return done{}, nil
}

func (a *api) complete(ctx context.Context, c *call, req job.CompleteRequest) (done, error) {
	fence, err := c.fence(req.Attempt)
	if err != nil {
		return done{}, err
	}
	if req, err = cleanCompletion(req); err != nil {
		return done{}, err
	}
	if err := failpoint.Hit("complete.before_commit"); err != nil {
		return done{}, err
	}
	if err := a.db.CompleteJob(ctx, fence, req); err != nil {
		return done{}, err
	}
	if err := failpoint.Hit("complete.after_commit"); err != nil {
		return done{}, err
	}
	attrs := []slog.Attr{slog.String("status", string(req.Status))}
	if req.Error != nil {
		attrs = append(attrs, slog.String("code", string(req.Error.Code)))
	}
	if req.Snapshot != nil {
		attrs = append(attrs, slog.String("snapshot_id", req.Snapshot.ID.String()))
	}
	a.log.LogAttrs(ctx, slog.LevelInfo, "attempt ended", attemptAttrs(c, fence, attrs...)...)
	return done{}, nil
}

// cleanCompletion makes the objects of a report fit to be stored: an outcome
// must not be lost because of a byte in a remote name. Whether the report can
// be true is the catalog's to judge.
func cleanCompletion(req job.CompleteRequest) (job.CompleteRequest, error) {
	if !req.Status.Terminal() {
		return req, problem.Field("body.status", "it must be completed, failed or canceled")
	}
	var err error
	if req.Result, err = cleanObject(req.Result); err != nil {
		return req, problem.Field("body.result", err.Error())
	}
	if req.Snapshot != nil {
		cleaned := *req.Snapshot
		if cleaned.Manifest, err = cleanObject(cleaned.Manifest); err != nil {
			return req, problem.Field("body.snapshot.manifest", err.Error())
		}
		req.Snapshot = &cleaned
	}
	return req, nil
}

// attemptAttrs names request, worker and attempt for the log.
func attemptAttrs(c *call, f catalog.Fence, attrs ...slog.Attr) []slog.Attr {
	all := append(callAttrs(c.r), slog.String("job_id", f.JobID.String()), slog.Int("attempt", f.Attempt))
	return append(all, attrs...)
}
