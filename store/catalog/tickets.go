package catalog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"xvault/internal/job"
	"xvault/internal/ticket"
	"xvault/store/catalog/query"
)

// Why a ticket that this hub signed is not good any more.
var (
	ErrTicketExpired = errors.New("the ticket has expired")
	ErrTicketRevoked = errors.New("the ticket was revoked")
	// ErrTicketGone: what it stands for is not there any more.
	ErrTicketGone = errors.New("the snapshot of this ticket is deleted")
)

// JobTicket is the download of a restore that completed.
type JobTicket struct {
	Ticket    ticket.Ticket // its facts; not signed
	PublicURL string        // of the worker; empty where it has none, or is removed
	RevokedAt *time.Time
	Redeemed  int64 // how often it was used
}

// JobTickets gives the tickets of those of the jobs that are restores, have
// completed and are for downloading.
func (s Scope) JobTickets(ctx context.Context, jobs []uuid.UUID) (map[uuid.UUID]JobTicket, error) {
	if len(jobs) == 0 {
		return nil, nil
	}
	rows, err := s.db.q().TicketsOfJobs(ctx, jobs)
	if err != nil {
		return nil, fmt.Errorf("read tickets: %w", err)
	}
	tickets := make(map[uuid.UUID]JobTicket, len(rows))
	for _, r := range rows {
		tickets[r.JobID] = JobTicket{
			Ticket: ticket.Ticket{
				ID: r.ID, Kind: ticket.Download, Subject: r.JobID, Worker: r.WorkerID,
				Selection: [32]byte(r.Selection), Expires: wholeSeconds(r.ExpiresAt),
			},
			PublicURL: r.PublicUrl, RevokedAt: r.RevokedAt, Redeemed: r.Redeemed,
		}
	}
	return tickets, nil
}

// wholeSeconds is how a ticket tells a time. It is not rounded up: a ticket
// never outlives what the catalog says.
func wholeSeconds(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }

// Redeemed is what a ticket is good for.
type Redeemed struct {
	TenantID, SourceID, SnapshotID uuid.UUID
	Payload                        job.RestorePayload // of a download
	Expires                        time.Time
	Snapshot                       ClaimedSnapshot
}

// RedeemTicket takes a ticket whose signature was checked, from the worker that
// it is for; its use is recorded in the audit trail. From is the address that
// the worker saw. Errors: ErrNotFound for one of another worker, or of nothing
// that there is; ErrTicketExpired, ErrTicketRevoked, ErrTicketGone.
func (s Scope) RedeemTicket(ctx context.Context, worker string, t ticket.Ticket, from string) (Redeemed, error) {
	if t.Worker != worker {
		return Redeemed{}, ErrNotFound
	}
	var out Redeemed
	var refused error
	err := s.db.inTx(ctx, func(_ pgx.Tx, q *query.Queries) error {
		row, err := q.RedeemTicket(ctx, t.ID)
		if errors.Is(err, pgx.ErrNoRows) {
			return ErrNotFound
		}
		if err != nil {
			return fmt.Errorf("redeem ticket: %w", err)
		}
		if out, refused = redeemedOf(row, t); errors.Is(refused, ErrNotFound) {
			return refused
		}
		outcome := "redeemed"
		if refused != nil {
			outcome = refused.Error()
		}
		return s.audit(ctx, q, Event{
			TenantID: &row.TenantID, Action: "ticket.redeem", ObjectType: "snapshot", ObjectID: row.SnapshotID.String(),
			Detail: map[string]any{"ticket_id": row.ID, "kind": row.Kind, "job_id": row.JobID, "client": cleanText(from, 64), "outcome": outcome},
		})
	})
	if err != nil {
		return Redeemed{}, err
	}
	return out, refused
}

// redeemedOf holds a ticket against its row.
func redeemedOf(r query.RedeemTicketRow, t ticket.Ticket) (Redeemed, error) {
	subject, kind := r.SnapshotID, ticket.Files
	if r.JobID != nil {
		subject, kind = *r.JobID, ticket.Download
	}
	if t.Subject != subject || t.Kind != kind || t.Worker != r.WorkerID || t.Selection != [32]byte(r.Selection) {
		return Redeemed{}, ErrNotFound
	}
	var payload job.RestorePayload
	if kind == ticket.Download {
		var err error
		if payload, err = job.DecodeRestore(r.Payload); err != nil {
			return Redeemed{}, ErrNotFound
		}
		if r.JobStatus != string(job.Completed) || ticket.Select(payload) != t.Selection {
			return Redeemed{}, ErrNotFound
		}
	}
	switch {
	case r.RevokedAt != nil:
		return Redeemed{}, ErrTicketRevoked
	case !r.Now.Before(t.Expires), !r.Now.Before(r.ExpiresAt):
		return Redeemed{}, ErrTicketExpired
	case r.SnapshotStatus == string(SnapshotDeleted):
		return Redeemed{}, ErrTicketGone
	}
	return Redeemed{
		TenantID: r.TenantID, SourceID: r.SourceID, SnapshotID: r.SnapshotID, Payload: payload, Expires: t.Expires,
		Snapshot: ClaimedSnapshot{
			SizeBytes: r.SizeBytes, SHA256: r.ArtifactSha256, Recipient: r.EncryptionRecipient,
			Identity: SealedCredential{ID: r.TenantKeyID, TenantID: r.TenantID, KeyID: r.KeyID, Ciphertext: r.EncryptedPrivateKey},
		},
	}, nil
}

// RevokeDownload ends the ticket of a restore that completed, for transfers to
// come; those that run go on to their end. It may be repeated. ErrNotFound: the
// job has no download.
func (s Scope) RevokeDownload(ctx context.Context, jobID uuid.UUID) error {
	return s.db.inTx(ctx, func(_ pgx.Tx, q *query.Queries) error {
		row, err := q.RevokeTicketOfJob(ctx, query.RevokeTicketOfJobParams{JobID: &jobID, TenantID: s.tenant})
		if err != nil {
			return notFound(err)
		}
		return s.audit(ctx, q, Event{
			TenantID: &row.TenantID, Action: "ticket.revoke", ObjectType: "job", ObjectID: jobID.String(),
			Detail: map[string]any{"ticket_id": row.ID},
		})
	})
}

// PruneTickets forgets tickets of no more use, at most limit of them.
func (db *DB) PruneTickets(ctx context.Context, limit int32) (int64, error) {
	return db.q().PruneTickets(ctx, limit)
}

// encodePayload is a restore's payload as a job has it.
func encodePayload(p job.RestorePayload) (json.RawMessage, error) {
	payload, err := json.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("encode payload: %w", err)
	}
	return payload, nil
}
