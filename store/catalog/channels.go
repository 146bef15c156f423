package catalog

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"xvault/archive/seal"
	"xvault/store/catalog/query"
)

// Channel is a way to tell someone of events. The operator's channels have no
// tenant and tell of all tenants' events.
type Channel struct {
	ID        uuid.UUID
	TenantID  *uuid.UUID
	Name      string
	Kind      string
	Config    json.RawMessage // what may be shown
	Secret    SealedConfig
	Events    []string
	SourceIDs []uuid.UUID // none: all
	Enabled   bool
	Failures  int // in a row
	CreatedAt time.Time
	UpdatedAt time.Time
}

// SealedConfig is the part of a channel's configuration that may not be shown,
// enveloped for ChannelAD.
type SealedConfig struct {
	Ciphertext []byte
	KeyID      string
}

// maxChannels bounds the channels of a tenant, and the operator's.
const maxChannels = 50

// ErrNoSource means that a source that a channel is to be confined to is not
// one of its tenant.
var ErrNoSource = fmt.Errorf("no such source")

// ChannelAD is what the secret part of a channel's configuration is bound to.
func ChannelAD(tenant *uuid.UUID, channel uuid.UUID) seal.AD {
	ad := seal.AD{Table: channelsTable, Row: channel, Column: "ciphertext"}
	if tenant != nil {
		ad.Tenant = *tenant
	}
	return ad
}

const channelsTable = "notification_channels"

// CreateChannel stores a channel; c.ID is the one that its secret is bound to.
// In a tenant's scope it is that tenant's. Errors: ErrNotFound, ErrNoSource,
// *Conflict "too_many_channels".
func (s Scope) CreateChannel(ctx context.Context, c Channel) (Channel, error) {
	if s.tenant != nil && (c.TenantID == nil || *c.TenantID != *s.tenant) {
		return Channel{}, ErrNotFound
	}
	var created Channel
	err := s.db.inTx(ctx, func(_ pgx.Tx, q *query.Queries) error {
		n, err := q.CountChannels(ctx, c.TenantID)
		if err != nil {
			return fmt.Errorf("count channels: %w", err)
		}
		if n >= maxChannels {
			return &Conflict{"too_many_channels", fmt.Sprintf("There are %d channels already, and there can be no more; remove some.", n)}
		}
		if err := sourcesExist(ctx, q, c); err != nil {
			return err
		}
		row, err := q.InsertChannel(ctx, query.InsertChannelParams{
			ID: c.ID, TenantID: c.TenantID, Name: c.Name, Kind: c.Kind, Config: c.Config, Ciphertext: c.Secret.Ciphertext,
			KeyID: c.Secret.KeyID, Events: c.Events, SourceIds: orEmpty(c.SourceIDs), Enabled: c.Enabled, WantsSuccess: c.wantsSuccess(),
		})
		if isViolation(err, "notification_channels_tenant_id_fkey") {
			return ErrNotFound
		}
		if err != nil {
			return fmt.Errorf("insert channel: %w", err)
		}
		created = channelOf(row)
		return s.audit(ctx, q, channelEvent("notification_channel.create", created))
	})
	return created, err
}

func (c Channel) wantsSuccess() bool { return slices.Contains(c.Events, EventSucceeded) }

func sourcesExist(ctx context.Context, q *query.Queries, c Channel) error {
	if len(c.SourceIDs) == 0 {
		return nil
	}
	n, err := q.CountSourcesOf(ctx, query.CountSourcesOfParams{Ids: c.SourceIDs, TenantID: c.TenantID})
	if err != nil {
		return fmt.Errorf("look for the channel's sources: %w", err)
	}
	if int(n) != len(c.SourceIDs) {
		return ErrNoSource
	}
	return nil
}

// Channel gives one channel.
func (s Scope) Channel(ctx context.Context, id uuid.UUID) (Channel, error) {
	row, err := s.db.q().Channel(ctx, query.ChannelParams{ID: id, TenantID: s.tenant})
	if err != nil {
		return Channel{}, notFound(err)
	}
	return channelOf(row), nil
}

// Channels lists channels; wanted confines the operator's list.
func (s Scope) Channels(ctx context.Context, wanted *uuid.UUID, p Page) ([]Channel, error) {
	var f filter
	if !f.tenant("tenant_id", s, wanted) {
		return nil, ErrNotFound
	}
	sql, args := f.newestFirst("SELECT * FROM notification_channels", "id", p)
	rows, err := s.db.pool.Query(ctx, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("list channels: %w", err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByName[query.NotificationChannel])
	if err != nil {
		return nil, fmt.Errorf("list channels: %w", err)
	}
	channels := make([]Channel, len(found))
	for i, row := range found {
		channels[i] = channelOf(row)
	}
	return channels, nil
}

// switchedOff is the last error of notifications that a channel no longer sends.
const switchedOff = "The channel was switched off before this was sent."

// UpdateChannel has change alter a channel, whose row is locked meanwhile. A
// channel that is switched off gives up what it has not sent.
func (s Scope) UpdateChannel(ctx context.Context, id uuid.UUID, change func(*Channel) error) (Channel, error) {
	var updated Channel
	err := s.db.inTx(ctx, func(_ pgx.Tx, q *query.Queries) error {
		row, err := q.LockChannel(ctx, query.LockChannelParams{ID: id, TenantID: s.tenant})
		if err != nil {
			return notFound(err)
		}
		c := channelOf(row)
		if err := change(&c); err != nil {
			return err
		}
		if err := sourcesExist(ctx, q, c); err != nil {
			return err
		}
		row, err = q.UpdateChannel(ctx, query.UpdateChannelParams{
			ID: id, Name: c.Name, Config: c.Config, Ciphertext: c.Secret.Ciphertext, KeyID: c.Secret.KeyID,
			Events: c.Events, SourceIds: orEmpty(c.SourceIDs), Enabled: c.Enabled, WantsSuccess: c.wantsSuccess(),
		})
		if err != nil {
			return fmt.Errorf("update channel: %w", err)
		}
		if !c.Enabled {
			err := q.FailNotificationsOf(ctx, query.FailNotificationsOfParams{ChannelID: id, Reason: switchedOff})
			if err != nil {
				return fmt.Errorf("give up notifications: %w", err)
			}
		}
		updated = channelOf(row)
		return s.audit(ctx, q, channelEvent("notification_channel.update", updated))
	})
	return updated, err
}

// DeleteChannel removes a channel and its notifications.
func (s Scope) DeleteChannel(ctx context.Context, id uuid.UUID) error {
	return s.db.inTx(ctx, func(_ pgx.Tx, q *query.Queries) error {
		row, err := q.LockChannel(ctx, query.LockChannelParams{ID: id, TenantID: s.tenant})
		if err != nil {
			return notFound(err)
		}
		if err := q.DeleteChannel(ctx, id); err != nil {
			return fmt.Errorf("delete channel: %w", err)
		}
		return s.audit(ctx, q, channelEvent("notification_channel.delete", channelOf(row)))
	})
}

func channelEvent(action string, c Channel) Event {
	return Event{
		TenantID: c.TenantID, Action: action, ObjectType: "notification_channel", ObjectID: c.ID.String(),
		Detail: map[string]any{"kind": c.Kind, "enabled": c.Enabled},
	}
}

func channelOf(r query.NotificationChannel) Channel {
	return Channel{
		ID: r.ID, TenantID: r.TenantID, Name: r.Name, Kind: r.Kind, Config: r.Config, Secret: SealedConfig{r.Ciphertext, r.KeyID},
		Events: r.Events, SourceIDs: r.SourceIds, Enabled: r.Enabled, Failures: int(r.Failures),
		CreatedAt: r.CreatedAt, UpdatedAt: r.UpdatedAt,
	}
}

// orEmpty keeps NULL out of a column that has none.
func orEmpty(ids []uuid.UUID) []uuid.UUID {
	if ids == nil {
		return []uuid.UUID{}
	}
	return ids
}
