package hubclient

import (
	"context"

	"github.com/google/uuid"

	"xvault/internal/job"
	"xvault/internal/secret"
)

// Register begins a new incarnation with the join token (an id that the hub
// does not know) or the worker's own. It does not change the client's token.
func (c *Client) Register(ctx context.Context, token secret.Text, req job.RegisterRequest) (job.RegisterResponse, error) {
	var res job.RegisterResponse
	err := c.postAs(ctx, token, "workers/register", req, &res)
	return res, err
}

// Heartbeat says that the worker lives.
func (c *Client) Heartbeat(ctx context.Context, hb job.Heartbeat) (job.HeartbeatResponse, error) {
	var res job.HeartbeatResponse
	err := c.post(ctx, "workers/heartbeat", hb, &res)
	return res, err
}

// Sweep tells what a comparison of storage and catalog found.
func (c *Client) Sweep(ctx context.Context, report job.SweepReport) error {
	return c.post(ctx, "workers/sweep", report, nil)
}

// Found tells some of what stands on the storage, where the hub asked for it.
func (c *Client) Found(ctx context.Context, page job.FoundPage) error {
	return c.post(ctx, "workers/found", page, nil)
}

// Reconcile asks which of the listed snapshots the hub does not know.
func (c *Client) Reconcile(ctx context.Context, req job.ReconcileRequest) (job.ReconcileResponse, error) {
	var res job.ReconcileResponse
	err := c.post(ctx, "workers/reconcile", req, &res)
	return res, err
}

// Claim takes an attempt at a job. The same claim id may be sent again after a
// lost answer.
func (c *Client) Claim(ctx context.Context, req job.ClaimRequest) (job.Claim, error) {
	var res job.Claim
	err := c.post(ctx, "jobs/claim", req, &res)
	return res, err
}

// Renew keeps the lease and tells the progress.
func (c *Client) Renew(ctx context.Context, id uuid.UUID, req job.RenewRequest) (job.RenewResponse, error) {
	var res job.RenewResponse
	err := c.post(ctx, jobPath(id, "renew"), req, &res)
	return res, err
}

// PinHostKey asks the hub to pin what a first connection showed.
func (c *Client) PinHostKey(ctx context.Context, id uuid.UUID, req job.HostKeyRequest) (job.HostKeyResponse, error) {
	var res job.HostKeyResponse
	err := c.post(ctx, jobPath(id, "host-key"), req, &res)
	return res, err
}

// Finalize says that the bytes are durable. It may be repeated.
func (c *Client) Finalize(ctx context.Context, id uuid.UUID, attempt int) error {
	return c.post(ctx, jobPath(id, "finalize"), job.AttemptRequest{Attempt: attempt}, nil)
}

// Release hands the attempt back; the job is due again at once.
func (c *Client) Release(ctx context.Context, id uuid.UUID, attempt int) error {
	return c.post(ctx, jobPath(id, "release"), job.AttemptRequest{Attempt: attempt}, nil)
}

// Redeem asks what a download ticket is good for.
func (c *Client) Redeem(ctx context.Context, req job.RedeemRequest) (job.RedeemResponse, error) {
	var res job.RedeemResponse
	err := c.post(ctx, "tickets/redeem", req, &res)
	return res, err
}

// Complete tells how the attempt ended. It may be repeated.
func (c *Client) Complete(ctx context.Context, id uuid.UUID, req job.CompleteRequest) error {
	return c.post(ctx, jobPath(id, "complete"), req, nil)
}

func jobPath(id uuid.UUID, call string) string { return "jobs/" + id.String() + "/" + call }
