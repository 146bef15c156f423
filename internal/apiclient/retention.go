package apiclient

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// RetentionPreview is what a retention run would do to a source.
type RetentionPreview struct {
	Keep       []RetentionDecision `json:"keep"`
	Remove     []RetentionDecision `json:"remove"`
	FreedBytes int64               `json:"freed_bytes"`
}

// RetentionDecision is what would become of one snapshot, and why.
type RetentionDecision struct {
	SnapshotID string    `json:"snapshot_id"`
	Reasons    []string  `json:"reasons"`
	Status     string    `json:"status"`
	StartedAt  time.Time `json:"started_at"`
	SizeBytes  int64     `json:"size_bytes"`
}

// RetentionQuestion is the body of a preview: by a policy, or without one by
// those of the source's schedules.
type RetentionQuestion struct {
	Policy   map[string]any `json:"retention_policy,omitempty"`
	Timezone string         `json:"timezone,omitempty"`
}

// PreviewRetention asks what a retention run would do. Nothing is changed.
func (c *Client) PreviewRetention(ctx context.Context, sourceID string, q RetentionQuestion) (Item[RetentionPreview], error) {
	raw, err := c.call(ctx, http.MethodPost, c.Sources().of(sourceID)+"/retention/preview", nil, q)
	if err != nil {
		return Item[RetentionPreview]{}, err
	}
	item := Item[RetentionPreview]{Raw: raw}
	if err := json.Unmarshal(raw, &item.Value); err != nil {
		return item, fmt.Errorf("decode preview: %w", err)
	}
	return item, nil
}

// DeleteSnapshot has a snapshot deleted, after the hub's grace time or now, and
// gives the job that does it.
func (c *Client) DeleteSnapshot(ctx context.Context, id string, now bool) (Item[Job], error) {
	query := url.Values{}
	if now {
		query.Set("now", "true")
	}
	return c.Jobs().decode(c.call(ctx, http.MethodDelete, c.Snapshots().of(id), query, nil))
}
