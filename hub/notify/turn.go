package notify

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/google/uuid"

	"xvault/internal/failpoint"
	"xvault/store/catalog"
)

const (
	// perTurn is how many notifications a channel sends in a turn; then others
	// that are due go first.
	perTurn = 20
	// recordTimeout bounds recording an outcome, also while the hub stops.
	recordTimeout = 5 * time.Second
)

// turns are the channels that this hub is busy with.
type turns struct {
	most, perTenant int

	mu      sync.Mutex
	running map[uuid.UUID]uuid.UUID // channel to tenant; the zero id is the operator
	done    sync.WaitGroup
}

func newTurns(most, perTenant int) *turns {
	return &turns{most: most, perTenant: perTenant, running: map[uuid.UUID]uuid.UUID{}}
}

// busy lists the channels that have a turn, the tenants that have as many as
// they may, and how many turns may begin.
func (t *turns) busy() (channels, full []uuid.UUID, free int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	count := map[uuid.UUID]int{}
	for channel, tenant := range t.running {
		channels = append(channels, channel)
		if count[tenant]++; count[tenant] == t.perTenant {
			full = append(full, tenant)
		}
	}
	return channels, full, t.most - len(t.running)
}

// begin runs turn beside the others, unless its tenant has as many as it may.
func (t *turns) begin(c catalog.Channel, turn func()) bool {
	var tenant uuid.UUID
	if c.TenantID != nil {
		tenant = *c.TenantID
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for _, other := range t.running {
		if other == tenant {
			n++
		}
	}
	if _, ok := t.running[c.ID]; ok || n >= t.perTenant {
		return false
	}
	t.running[c.ID] = tenant
	t.done.Go(func() {
		defer func() {
			t.mu.Lock()
			defer t.mu.Unlock()
			delete(t.running, c.ID)
		}()
		turn()
	})
	return true
}

func (t *turns) wait() { t.done.Wait() }

// begin takes channels that are due and begins their turns.
func (n *Notifier) begin(ctx context.Context) error {
	busy, full, free := n.turns.busy()
	if free <= 0 {
		return nil
	}
	call, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	channels, err := n.cfg.DB.TakeChannels(call, free, busy, full)
	if err != nil {
		return err
	}
	for _, c := range channels {
		if n.turns.begin(c, func() { n.turn(ctx, c) }) {
			continue
		}
		// Its tenant has its share just now.
		if err := n.cfg.DB.EndTurn(call, c.ID); err != nil {
			return err
		}
	}
	return nil
}

// turn sends what a channel has, until it fails. Where it cannot be ended the
// lease ends it.
func (n *Notifier) turn(ctx context.Context, c catalog.Channel) {
	s, openErr := n.sender(c)
	for range perTurn {
		if ctx.Err() != nil {
			break
		}
		next, err := n.cfg.DB.ClaimNotification(ctx, c.ID)
		if errors.Is(err, catalog.ErrNotFound) {
			break
		}
		if err != nil {
			n.warn(ctx, "cannot claim a notification", c, err)
			return
		}
		if openErr == nil {
			err = n.send(ctx, s, messageOf(next))
		} else {
			err = openErr
		}
		if failpoint.Hit("notify.sent") != nil {
			return
		}
		if !n.record(ctx, c, next, err) {
			return
		}
	}
	record, cancel := recordContext(ctx)
	defer cancel()
	if err := n.cfg.DB.EndTurn(record, c.ID); err != nil {
		n.warn(ctx, "cannot end the turn of a channel", c, err)
	}
}

// send makes one attempt. It is not cut short when the hub stops: nobody would
// know whether it arrived.
func (n *Notifier) send(ctx context.Context, s sender, m Message) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), n.cfg.SendTimeout)
	defer cancel()
	return s.send(ctx, m)
}

// record keeps the outcome of an attempt, and reports whether the turn goes on.
func (n *Notifier) record(ctx context.Context, c catalog.Channel, sent catalog.Notification, outcome error) bool {
	record, cancel := recordContext(ctx)
	defer cancel()
	if outcome == nil {
		if err := n.cfg.DB.NotificationSent(record, sent); err != nil {
			n.warn(ctx, "a notification was sent and that could not be recorded: it will be sent again with the same id", c, err)
			return false
		}
		return true
	}
	why := reason(outcome)
	given, err := n.cfg.DB.NotificationFailed(record, sent, why, n.cfg.GiveUp)
	if err != nil {
		n.warn(ctx, "cannot record that a notification failed", c, err)
		return false
	}
	n.cfg.Log.WarnContext(ctx, "a notification could not be sent", "notification_id", sent.ID, "channel_id", c.ID, "kind", c.Kind,
		"attempt", sent.Attempts, "given_up", given, "reason", why)
	return false
}

func recordContext(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), recordTimeout)
}

func (n *Notifier) warn(ctx context.Context, what string, c catalog.Channel, err error) {
	if ctx.Err() == nil {
		n.cfg.Log.WarnContext(ctx, what, "channel_id", c.ID, "error", err) //nolint:sloglint // one of the few texts above
	}
}
