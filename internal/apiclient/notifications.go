package apiclient

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// Channel is a way to tell someone of what happened, without its secrets.
type Channel struct {
	ID        string          `json:"id"`
	TenantID  string          `json:"tenant_id"`
	Kind      string          `json:"kind"`
	Name      string          `json:"name"`
	Config    json.RawMessage `json:"config"`
	Events    []string        `json:"events"`
	SourceIDs []string        `json:"source_ids"`
	Enabled   bool            `json:"enabled"`
	Failures  int             `json:"failures"`
	CreatedAt time.Time       `json:"created_at"`
}

// Notification is one event on its way through one channel.
type Notification struct {
	ID        string     `json:"id"`
	TenantID  string     `json:"tenant_id"`
	ChannelID string     `json:"channel_id"`
	Status    string     `json:"status"`
	Attempts  int        `json:"attempts"`
	NextTryAt *time.Time `json:"next_try_at"`
	LastError string     `json:"last_error"`
	SentAt    *time.Time `json:"sent_at"`
	Event     struct {
		Kind     string `json:"kind"`
		SourceID string `json:"source_id"`
		JobID    string `json:"job_id"`
		WorkerID string `json:"worker_id"`
	} `json:"event"`
	CreatedAt time.Time `json:"created_at"`
}

// Channels are the ways to tell someone.
func (c *Client) Channels() Resource[Channel] { return Resource[Channel]{c, "notification-channels"} }

// Notifications are what channels have sent or are to send.
func (c *Client) Notifications() Resource[Notification] {
	return Resource[Notification]{c, "notifications"}
}

// ChannelTest is how a test of a channel went.
type ChannelTest struct {
	Sent  bool   `json:"sent"`
	Error string `json:"error"`
}

// TestChannel sends a test message through a channel.
func (c *Client) TestChannel(ctx context.Context, id string) (ChannelTest, error) {
	raw, err := c.call(ctx, http.MethodPost, c.Channels().of(id)+"/test", nil, nil)
	if err != nil {
		return ChannelTest{}, err
	}
	var t ChannelTest
	if err := json.Unmarshal(raw, &t); err != nil {
		return ChannelTest{}, fmt.Errorf("decode test of channel: %w", err)
	}
	return t, nil
}
