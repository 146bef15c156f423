package workerapi

import (
	"context"
	"errors"
	"log/slog"
	"net/http"

	"xvault/hub/problem"
	"xvault/internal/job"
	"xvault/internal/ticket"
	"xvault/store/catalog"
)

// redeemTicket tells a worker what someone who showed it a ticket is to get, and
// gives it the tenant's identity for that one transfer. A ticket that is not
// good is refused here, whatever the worker thinks of it: here is where it is
// revoked and by this clock it expires.
func (a *api) redeemTicket(ctx context.Context, c *call, req job.RedeemRequest) (job.RedeemResponse, error) {
	keys, err := a.db.TicketPublicKeys(ctx)
	if err != nil {
		return job.RedeemResponse{}, err
	}
	t, err := ticket.Open(keys, req.Ticket)
	if err != nil {
		return job.RedeemResponse{}, ticketUnknown()
	}
	redeemed, err := a.db.Operator(actor(c.r, c.worker.ID)).RedeemTicket(ctx, c.worker.ID, t, req.Client)
	if err != nil {
		return job.RedeemResponse{}, ticketProblem(err)
	}
	identity, err := a.sealIdentity(c.worker, redeemed.Snapshot.Identity)
	if err != nil {
		a.log.LogAttrs(ctx, slog.LevelError, "a tenant's key does not open", append(callAttrs(c.r), slog.Any("error", err))...)
		return job.RedeemResponse{}, problem.New(http.StatusServiceUnavailable, problem.Unavailable,
			"This hub cannot open the tenant's key just now; its log tells why. Try again.")
	}
	a.log.LogAttrs(ctx, slog.LevelInfo, "ticket redeemed", append(callAttrs(c.r),
		slog.String("ticket_id", t.ID.String()), slog.String("snapshot_id", redeemed.SnapshotID.String()))...)
	return job.RedeemResponse{
		TenantID: redeemed.TenantID, SourceID: redeemed.SourceID, SnapshotID: redeemed.SnapshotID,
		Snapshot: job.ClaimSnapshot{
			SizeBytes: redeemed.Snapshot.SizeBytes, SHA256: redeemed.Snapshot.SHA256, Recipient: redeemed.Snapshot.Recipient,
		},
		Restore: redeemed.Payload, SealedIdentity: identity, ExpiresAt: redeemed.Expires,
	}, nil
}

// ticketProblem tells a worker no more than what it needs: one that is another
// worker's does not exist.
func ticketProblem(err error) error {
	switch {
	case errors.Is(err, catalog.ErrNotFound):
		return ticketUnknown()
	case errors.Is(err, catalog.ErrTicketExpired):
		return problem.New(http.StatusGone, job.RefusedTicketExpired, "This download ticket has expired.")
	case errors.Is(err, catalog.ErrTicketRevoked):
		return problem.New(http.StatusGone, job.RefusedTicketRevoked, "This download ticket was revoked.")
	case errors.Is(err, catalog.ErrTicketGone):
		return problem.New(http.StatusGone, job.RefusedTicketGone, "The snapshot of this download ticket is deleted.")
	}
	return err
}

func ticketUnknown() error {
	return problem.New(http.StatusNotFound, job.RefusedTicketUnknown, "There is no such download ticket.")
}
