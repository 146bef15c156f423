package worker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/google/uuid"

	"xvault/internal/job"
	"xvault/store/blob"
	"xvault/worker/hubclient"
)

// listings tells the hub what stands on the storage when an operator asks: for
// rebuilding a catalog that was lost. It tells of everything, and what is to be
// made of it is decided there.
type listings struct {
	w *Worker

	mu      sync.Mutex
	asked   uuid.UUID // what was asked for last, and is being told or was
	running bool
	all     sync.WaitGroup
}

// ask begins a listing in the background, unless this very one was begun before
// or another one still runs: the hub asks again with the next heartbeat.
func (l *listings) ask(id uuid.UUID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if id == uuid.Nil || id == l.asked || l.running || !l.w.storage.ready() {
		return
	}
	l.asked, l.running = id, true
	l.all.Go(func() {
		err := l.tell(l.w.life, id)
		l.mu.Lock()
		defer l.mu.Unlock()
		l.running = false
		if err != nil && l.w.life.Err() == nil {
			l.w.log.Warn("the hub's question what is on the storage could not be answered", "error", err)
		}
	})
}

func (l *listings) wait() { l.all.Wait() }

// tell sends the listing, page by page.
func (l *listings) tell(ctx context.Context, id uuid.UUID) error {
	store, err := l.w.storage.current()
	if err != nil {
		return err
	}
	listing, err := uuid.NewRandom()
	if err != nil {
		return fmt.Errorf("make an id: %w", err)
	}
	marked, err := l.w.unconfirmed.list()
	if err != nil {
		return err
	}
	p := &pages{w: l.w, page: job.FoundPage{ImportID: id, ListingID: listing, StorageID: store.ID()}}
	surveyor, ok := store.(blob.Surveyor)
	if !ok {
		return p.end(ctx, errors.New("this kind of storage cannot be surveyed"))
	}
	err = surveyor.Survey(ctx, func(s blob.Surveyed) error {
		return p.add(ctx, job.Found{
			Place: shortened(s.Place), TenantID: s.Key.TenantID, SourceID: s.Key.SourceID, SnapshotID: s.Key.SnapshotID,
			Unconfirmed: marked[s.Key.SnapshotID], ArtifactBytes: s.ArtifactBytes,
			Manifest: s.Manifest, Meta: s.Meta, Problem: shortened(s.Problem),
		})
	})
	if hubclient.Refused(err) {
		return err // nobody asks any more
	}
	return p.end(ctx, err)
}

// shortened is a text as the hub takes it.
func shortened(s string) string { return cutText(strings.ToValidUTF8(s, "\uFFFD"), job.MaxPlace/2) }

// pages collects what was found and sends it.
type pages struct {
	w     *Worker
	page  job.FoundPage
	bytes int64
	told  int
}

func (p *pages) add(ctx context.Context, f job.Found) error {
	if len(p.page.Items) == job.FoundPageItems || p.bytes+f.Bytes() > job.FoundPageBytes {
		if err := p.send(ctx); err != nil {
			return err
		}
	}
	p.page.Items = append(p.page.Items, f)
	p.bytes += f.Bytes()
	return nil
}

// end sends the last page, and why it is the last one where that is not because
// all was told.
func (p *pages) end(ctx context.Context, why error) error {
	p.page.Last = true
	if why != nil {
		p.page.Problem = shortened("the worker could not list all of its storage: " + why.Error())
	}
	if err := p.send(ctx); err != nil {
		return err
	}
	p.w.log.Info("told the hub what is on the storage, as it asked", "folders", p.told, "problem", p.page.Problem)
	return nil
}

// send insists: a hub that is away for a while does not end a listing.
func (p *pages) send(ctx context.Context) error {
	pause := p.w.timing.retryMin
	for {
		err := p.w.hub.Found(ctx, p.page)
		if err == nil {
			break
		}
		if !hubclient.Transient(err) || !sleep(ctx, pause) {
			return fmt.Errorf("tell the hub what is on the storage: %w", err)
		}
		pause = min(2*pause, p.w.timing.retryMax)
	}
	p.told += len(p.page.Items)
	p.page.Items, p.bytes = p.page.Items[:0], 0
	return nil
}
