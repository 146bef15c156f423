package notify

import (
	"context"
	"time"

	"xvault/store/catalog"
)

const (
	// enough is how much more than LeastFree ends an alert.
	enough = 1.5
	// lookAgain is when a source whose objective is exceeded is looked at again;
	// a good backup ends its alert at once.
	lookAgain = 10 * time.Minute
	// maxRounds bounds one look at the objectives.
	maxRounds = 20
	// sweepBatch is how many old rows are removed at once.
	sweepBatch = 2000
)

// watch looks at what begins and ends with time.
func (n *Notifier) watch(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	err := n.cfg.DB.WatchWorkers(ctx, catalog.WorkerWatch{LeastFree: n.cfg.LeastFree, Enough: enough * n.cfg.LeastFree, Calm: n.cfg.Calm})
	if err != nil {
		return err
	}
	for range maxRounds {
		looked, err := n.cfg.DB.CheckMaxAges(ctx, batch, lookAgain)
		if err != nil {
			return err
		}
		if looked < batch {
			break
		}
	}
	return nil
}

// sweep gives up what is too old, forgets what is older still, and looks after
// clocks that went back.
func (n *Notifier) sweep(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	given, err := n.cfg.DB.GiveUpNotifications(ctx, n.cfg.GiveUp, sweepBatch)
	if err != nil {
		return err
	}
	if given > 0 {
		n.cfg.Log.WarnContext(ctx, "notifications were given up: their channels keep failing", "notifications", given)
	}
	if _, err := n.cfg.DB.ReplanMaxAges(ctx); err != nil {
		return err
	}
	_, err = n.cfg.DB.DropOldEvents(ctx, n.cfg.Keep, sweepBatch)
	return err
}
