package rebuild

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"

	"xvault/internal/failpoint"
	"xvault/store/catalog"
)

// taking is one import at work.
type taking struct {
	*rebuild
	im      catalog.Importer
	now     time.Time
	keys    keyring
	states  map[uuid.UUID]map[uuid.UUID]catalog.KeyState // tenant, key
	tenants map[uuid.UUID]*Tenant
	sources map[uuid.UUID]*Source
	seen    int64
	report  Report
	batch   []candidate
}

func newTaking(r *rebuild, im catalog.Importer, now time.Time) *taking {
	t := &taking{
		rebuild: r, im: im, now: now, keys: make(keyring), states: make(map[uuid.UUID]map[uuid.UUID]catalog.KeyState),
		tenants: make(map[uuid.UUID]*Tenant), sources: make(map[uuid.UUID]*Source),
		report: Report{
			WorkerID: r.cfg.WorkerID, DryRun: r.cfg.DryRun, Found: r.listing.Found, Incomplete: r.listing.Problem,
			Tenants: []Tenant{}, Sources: []Source{}, Problems: []Problem{},
		},
	}
	if r.listing.StorageID != nil {
		t.report.StorageID = *r.listing.StorageID
	}
	return t
}

func (t *taking) tenant(id uuid.UUID) *Tenant {
	if t.tenants[id] == nil {
		t.tenants[id] = &Tenant{ID: id}
	}
	return t.tenants[id]
}

func (t *taking) collectKeys(ctx context.Context) error {
	return t.each(ctx, []bool{false, true}, func(c candidate, wrong error) error {
		if wrong == nil {
			t.keys.add(c)
		}
		return nil
	}, t.now)
}

func (t *taking) makeTenants(ctx context.Context) error {
	owners := t.keys.owners()
	kept, err := t.im.Owners(ctx, slices.Sorted(maps.Keys(owners)))
	if err != nil {
		return err
	}
	for _, id := range slices.SortedFunc(maps.Keys(t.keys), compareIDs) {
		if err := t.makeTenant(ctx, id, t.keys.claims(id, t.identities, owners, kept)); err != nil {
			return err
		}
		if err := failpoint.Hit("import.tenant"); err != nil {
			return err
		}
	}
	return nil
}

func (t *taking) makeTenant(ctx context.Context, id uuid.UUID, claims []claim) error {
	if len(claims) == 0 {
		return nil // whatever is of it is refused, each for its own reason
	}
	keys := make([]catalog.ImportKey, len(claims))
	for i, c := range claims {
		nothing, kek, err := t.kek.Seal(nil, catalog.TenantKeyAD(id, c.id))
		if err != nil {
			return fmt.Errorf("seal: %w", err)
		}
		keys[i] = catalog.ImportKey{ID: c.id, Recipient: c.recipient, Nothing: nothing, KEK: kek, Given: c.given}
	}
	made, states, err := t.im.ImportTenant(ctx, id, keys)
	if err != nil {
		return fmt.Errorf("tenant %s: %w", id, err)
	}
	t.states[id] = states
	t.tenant(id).Made = made
	return nil
}

// completeKeys stores the identities at hand where the catalog lacks them, also
// those of tenants that an earlier import made.
func (t *taking) completeKeys(ctx context.Context) error {
	missing, err := t.im.MissingIdentities(ctx, t.identities.recipients())
	if err != nil {
		return err
	}
	for _, key := range missing {
		kit := t.identities[key.Recipient]
		if !t.identities.opens(key.Recipient, key.TenantID) {
			t.report.problem("", true, fmt.Sprintf("%s is the recovery kit of tenant %s, and its key is tenant %s's in this catalog: not stored", kit.File, kit.TenantID, key.TenantID))
			continue
		}
		sealed, kek, err := t.kek.Seal([]byte(kit.Key.Reveal()), catalog.TenantKeyAD(key.TenantID, key.ID))
		if err != nil {
			return fmt.Errorf("seal identity: %w", err)
		}
		done, err := t.im.Complete(ctx, key, sealed, kek, tenantName(kit.TenantName))
		if err != nil {
			return fmt.Errorf("tenant %s: %w", key.TenantID, err)
		}
		if done {
			t.tenant(key.TenantID).Completed++
		}
		if states := t.states[key.TenantID]; states != nil {
			states[key.ID] = catalog.KeyState{Recipient: key.Recipient, Proved: true}
		}
		if err := failpoint.Hit("import.identity"); err != nil {
			return err
		}
	}
	return t.noteUnused(ctx)
}

// noteUnused tells of identities that are nobody's here: the wrong file, perhaps.
func (t *taking) noteUnused(ctx context.Context) error {
	owners, err := t.im.Owners(ctx, t.identities.recipients())
	if err != nil {
		return err
	}
	for recipient, kit := range t.identities {
		if _, owned := owners[recipient]; !owned {
			t.report.UnusedIdentities = append(t.report.UnusedIdentities, kit.File)
		}
	}
	slices.Sort(t.report.UnusedIdentities)
	return nil
}

func (t *taking) takeSnapshots(ctx context.Context, unconfirmed bool) error {
	err := t.each(ctx, []bool{unconfirmed}, func(c candidate, wrong error) error {
		if t.seen++; t.seen%pageSize == 0 {
			t.cfg.Progress("importing", t.seen, t.report.Found)
		}
		if wrong == nil {
			wrong = t.keyFault(c)
		}
		if wrong != nil {
			t.refuse(c.found.Place, wrong.Error())
			return nil
		}
		if len(t.batch) == batchSize || len(t.batch) > 0 && !sameSource(t.batch[0], c) {
			if err := t.flush(ctx); err != nil {
				return err
			}
		}
		t.batch = append(t.batch, c)
		return nil
	}, t.now)
	if err != nil {
		return err
	}
	return t.flush(ctx)
}

func sameSource(a, b candidate) bool {
	return a.manifest.TenantID == b.manifest.TenantID && a.manifest.SourceID == b.manifest.SourceID && a.manifest.Source.Type == b.manifest.Source.Type
}

// keyFault says why the key that a snapshot says it is sealed to is not one of
// its tenant's.
func (t *taking) keyFault(c candidate) error {
	m := c.manifest
	recipient := m.Encryption.Recipients[0]
	state, known := t.states[m.TenantID][m.Encryption.KeyID]
	kit, given := t.identities[recipient]
	switch {
	case known && state.Recipient == recipient:
		return nil
	case given && kit.TenantID != uuid.Nil && kit.TenantID != m.TenantID:
		return fmt.Errorf("it is sealed to %s, which is tenant %s's key by its recovery kit", recipient, kit.TenantID)
	case known:
		return fmt.Errorf("it is sealed to %s, but the tenant's key %s is %s", recipient, m.Encryption.KeyID, state.Recipient)
	case t.states[m.TenantID] == nil:
		return fmt.Errorf("it is sealed to %s, of which it is not certain that it is this tenant's key: another tenant's snapshots have it too, "+
			"or this tenant's name several under one id; the right recovery kit decides", recipient)
	default:
		return fmt.Errorf("it is sealed to %s, which is no key of the tenant in this catalog: give its identity, if it is one", recipient)
	}
}

func (t *taking) refuse(place, why string) {
	t.report.Refused++
	t.report.problem(place, true, why)
}

// flush takes in the batch.
func (t *taking) flush(ctx context.Context) error {
	if len(t.batch) == 0 {
		return nil
	}
	m := t.batch[0].manifest
	b := catalog.ImportBatch{WorkerID: t.cfg.WorkerID, TenantID: m.TenantID, SourceID: m.SourceID, Type: m.Source.Type}
	for _, c := range t.batch {
		b.Snapshots = append(b.Snapshots, c.snapshot())
	}
	out, err := t.im.ImportSnapshots(ctx, b)
	if err != nil {
		return fmt.Errorf("source %s of tenant %s: %w", b.SourceID, b.TenantID, err)
	}
	t.note(b, out)
	t.batch = t.batch[:0]
	return failpoint.Hit("import.batch")
}

func (t *taking) note(b catalog.ImportBatch, out catalog.BatchOutcome) {
	source := t.sources[b.SourceID]
	if source == nil {
		source = &Source{ID: b.SourceID, TenantID: b.TenantID, Type: b.Type}
		t.sources[b.SourceID] = source
	}
	source.Made = source.Made || out.SourceMade
	tenant := t.tenant(b.TenantID)
	for i, o := range out.Snapshots {
		c, s := t.batch[i], b.Snapshots[i]
		switch o.State {
		case catalog.Imported:
			t.report.Imported++
			t.report.Bytes += s.Size
			source.Imported++
			source.Bytes += s.Size
			tenant.Imported++
			t.noteStatus(c)
		case catalog.AlreadyIn:
			t.report.Present++
			source.Present++
		case catalog.DiffersFrom:
			t.report.Different++
			t.report.problem(c.found.Place, false, o.Detail)
			continue
		case catalog.NotImported:
			t.refuse(c.found.Place, o.Detail)
			continue
		}
		if s.Ended.After(source.Newest) {
			source.Newest = s.Ended
		}
		if !t.states[b.TenantID][s.KeyID].Proved {
			tenant.Locked++
			if !slices.Contains(tenant.Missing, s.Recipient) {
				tenant.Missing = append(tenant.Missing, s.Recipient)
			}
		}
	}
}

func (t *taking) noteStatus(c candidate) {
	switch c.status {
	case catalog.SnapshotPartial:
		t.report.Partial++
	case catalog.SnapshotCorrupt:
		t.report.Corrupt++
	}
	if c.warning != "" {
		t.report.problem(c.found.Place, false, c.warning)
	}
}

// result is the report, in order.
func (t *taking) result() Report {
	for _, id := range slices.SortedFunc(maps.Keys(t.tenants), compareIDs) {
		t.report.Tenants = append(t.report.Tenants, *t.tenants[id])
	}
	for _, s := range t.sources {
		t.report.Sources = append(t.report.Sources, *s)
	}
	slices.SortFunc(t.report.Sources, func(a, b Source) int {
		return cmp.Or(compareIDs(a.TenantID, b.TenantID), compareIDs(a.ID, b.ID))
	})
	return t.report
}

func compareIDs(a, b uuid.UUID) int { return slices.Compare(a[:], b[:]) }
