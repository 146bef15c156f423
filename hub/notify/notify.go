// Package notify tells people of what happened: through e-mail, signed webhooks,
// Slack-compatible webhooks, Telegram bots and healthchecks-style pings.
//
// What it promises. An event is written in the transaction that makes it true,
// under a key of its own, so that none is lost and none is written twice. For
// each channel that wants it there is one notification, handed out in one
// transaction. It is tried until a receiver took it or it is a day old. An
// attempt is claimed and committed before anything is sent, and its outcome after
// that, so that of any number of hubs one sends it. Only a hub that dies, or loses
// the catalog, between sending and recording sends it again, two minutes later
// and with the same id: no protocol without a transaction on both sides can do
// better. Receivers of webhooks tell it by webhook-id.
//
// What may not be shown of a channel (passwords, tokens, addresses that hold
// one) is enveloped in the catalog, and opened here for the length of a turn.
// Errors that are kept or logged come from a closed set of sentences and hold
// nothing that a receiver said.
package notify

import (
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"golang.org/x/sync/errgroup"

	"xvault/archive/seal"
	"xvault/connectors"
	"xvault/store/catalog"
)

// Config is what a Notifier needs.
type Config struct {
	// DB is the catalog. Required.
	DB *catalog.DB
	// Keyring opens the channels' secrets. Required.
	Keyring *seal.Keyring
	// RefusePrivate forbids channels of tenants to lead to loopback and private
	// addresses. The operator's own channels may.
	RefusePrivate bool
	// RootCAs are the authorities whose certificates receivers may have; nil: those
	// of the system.
	RootCAs *x509.CertPool
	// Poll is how often new events and due channels are looked for. Default 1 s.
	Poll time.Duration
	// WatchEvery is how often workers, storages and objectives are looked at.
	// Default 10 s.
	WatchEvery time.Duration
	// Concurrency is to how many channels a hub sends at once. Default 32.
	Concurrency int
	// PerTenant is how many of them may be one tenant's, or the operator's.
	// Default 4.
	PerTenant int
	// SendTimeout bounds one attempt, all told. Default 10 s.
	SendTimeout time.Duration
	// GiveUp is the age at which a notification is given up. Default 24 h.
	GiveUp time.Duration
	// Keep is for how long events and notifications are kept. Default 30 days.
	Keep time.Duration
	// LeastFree is the part of a storage below which it is nearly full. Default
	// 0.1; it is over at half as much again.
	LeastFree float64
	// Calm is how long a worker must be back, or a storage have room, before that is
	// told. Default 5 min.
	Calm time.Duration
	// Log takes what was done. Default: nothing is told.
	Log *slog.Logger
}

func (c Config) withDefaults() Config {
	set := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	set(&c.Poll, time.Second)
	set(&c.WatchEvery, 10*time.Second)
	set(&c.SendTimeout, 10*time.Second)
	set(&c.GiveUp, 24*time.Hour)
	set(&c.Keep, 30*24*time.Hour)
	set(&c.Calm, 5*time.Minute)
	if c.Concurrency == 0 {
		c.Concurrency = 32
	}
	if c.PerTenant == 0 {
		c.PerTenant = 4
	}
	if c.LeastFree == 0 {
		c.LeastFree = 0.1
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

func (c Config) validate() error {
	switch {
	case c.DB == nil || c.Keyring == nil:
		return errors.New("notifications need a catalog and its keys")
	case c.Poll < 0 || c.WatchEvery < 0 || c.GiveUp < 0 || c.Keep < 0 || c.Calm < 0 || c.Concurrency < 0 || c.PerTenant < 0:
		return errors.New("durations and limits of notifications cannot be negative")
	case c.SendTimeout < 0 || c.SendTimeout > catalog.SendLease/2:
		return errors.New("sending a notification must not take longer than half the lease")
	case c.LeastFree < 0 || c.LeastFree >= 0.6:
		return errors.New("the part of a storage that should be free must be below 0.6")
	}
	return nil
}

// Notifier watches, hands events out and sends. Make it with New and run it
// once; Test may be called at any time.
type Notifier struct {
	cfg   Config
	turns *turns
	open  connectors.Dialer // for the operator's channels
	tight connectors.Dialer // for tenants'
}

// New checks the configuration.
func New(cfg Config) (*Notifier, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	return &Notifier{
		cfg: cfg, turns: newTurns(cfg.Concurrency, cfg.PerTenant),
		open:  connectors.NewDialer(connectors.DialerConfig{Timeout: dialTimeout}),
		tight: connectors.NewDialer(connectors.DialerConfig{Timeout: dialTimeout, RefusePrivate: cfg.RefusePrivate}),
	}, nil
}

const (
	dialTimeout = 5 * time.Second
	// callTimeout bounds one transaction.
	callTimeout = 30 * time.Second
	batch       = 500
	sweepEvery  = time.Minute
	maxBackoff  = 30 * time.Second
)

// Run works until ctx ends, through any outage of Postgres, and returns nil once
// what is being sent has ended: within SendTimeout and a moment.
func (n *Notifier) Run(ctx context.Context) error {
	var parts errgroup.Group
	parts.Go(func() error { n.every(ctx, n.cfg.Poll, "notifications are not sent", n.pass); return nil })
	parts.Go(func() error {
		n.every(ctx, n.cfg.WatchEvery, "workers and objectives are not watched", n.watch)
		return nil
	})
	parts.Go(func() error { n.every(ctx, sweepEvery, "old notifications are not removed", n.sweep); return nil })
	err := parts.Wait()
	n.turns.wait()
	return err
}

// every runs work over and over. It writes two lines an outage: its begin and
// its end.
func (n *Notifier) every(ctx context.Context, interval time.Duration, without string, work func(context.Context) error) {
	failures := 0
	for {
		err := work(ctx)
		wait := interval
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			if failures == 0 {
				n.cfg.Log.WarnContext(ctx, without+"; nothing is lost, trying again", "error", err) //nolint:sloglint // one of two texts
			}
			failures++
			jitter := rand.N(interval)
			wait = min(interval<<min(failures, 8), maxBackoff) + jitter
		case failures > 0:
			n.cfg.Log.InfoContext(ctx, "notifications work again", "failures", failures)
			failures = 0
		}
		if !sleep(ctx, wait) {
			return
		}
	}
}

// pass hands new events out and begins turns of channels that are due.
func (n *Notifier) pass(ctx context.Context) error {
	for {
		handed, err := n.handOut(ctx)
		if err != nil {
			return err
		}
		if handed < batch {
			break
		}
	}
	return n.begin(ctx)
}

func (n *Notifier) handOut(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return n.cfg.DB.HandOutEvents(ctx, batch)
}

// sleep reports whether ctx is still alive after d.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return ctx.Err() == nil
	}
}
