package job

// Codes of the problems with which the internal API refuses, where a worker
// acts on which it is. Others are for people only.
const (
	// RefusedUnauthorized (401): the token is nobody's; the worker was removed.
	RefusedUnauthorized = "unauthorized"
	// RefusedSuperseded (401): the worker started anew since; this process ends.
	RefusedSuperseded = "worker_superseded"
	// RefusedNotClaimable (409) and RefusedGone (410): nothing to do, or not here
	// and now; the delivery is dropped.
	RefusedNotClaimable = "not_claimable"
	RefusedGone         = "gone"
	// RefusedLeaseLost (409): the attempt is not the current one; the job's work
	// stops.
	RefusedLeaseLost = "lease_lost"
	// RefusedHostKey (409): another host key is pinned.
	RefusedHostKey = "host_key_changed"
	// RefusedFirstUse (409): the source does not trust a host key on first use.
	RefusedFirstUse = "host_key_not_trusted"
	// RefusedTicketUnknown (404): no ticket of this hub, or of another worker.
	RefusedTicketUnknown = "ticket_unknown"
	// RefusedTicketExpired, RefusedTicketRevoked, RefusedTicketGone (410): not any
	// more.
	RefusedTicketExpired = "ticket_expired"
	RefusedTicketRevoked = "ticket_revoked"
	RefusedTicketGone    = "snapshot_deleted"
	// RefusedListing (409): nobody asks for this listing, or not any more.
	RefusedListing = "listing_over"
)
