package api

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"xvault/hub/auth"
	"xvault/hub/notify"
	"xvault/hub/problem"
	"xvault/store/catalog"
)

// Channel is a way to tell someone of what happened.
type Channel struct {
	ID        uuid.UUID   `json:"id" format:"uuid"`
	TenantID  *uuid.UUID  `json:"tenant_id" format:"uuid" nullable:"true" doc:"null: the operator's, which tells of all tenants and of workers"`
	Kind      string      `json:"kind" enum:"email,webhook,slack,telegram,ping"`
	Name      string      `json:"name"`
	Config    Object      `json:"config" doc:"Without its secrets: passwords, tokens, addresses that may hold one"`
	Events    []string    `json:"events" nullable:"false" doc:"Which it tells of"`
	SourceIDs []uuid.UUID `json:"source_ids" nullable:"false" doc:"Of which sources; none: of all"`
	Enabled   bool        `json:"enabled"`
	Failures  int         `json:"failures" doc:"Attempts that failed in a row; it pauses after each"`
	CreatedAt Time        `json:"created_at"`
	UpdatedAt Time        `json:"updated_at"`
}

func channelOf(c catalog.Channel) Channel {
	return Channel{
		c.ID, c.TenantID, c.Kind, c.Name, Object{c.Config}, c.Events, c.SourceIDs, c.Enabled, c.Failures, Time{c.CreatedAt}, Time{c.UpdatedAt},
	}
}

func (s *server) registerChannels(api huma.API) {
	tags := []string{"notifications"}
	secretBody := map[string]any{metaSecretBody: true}
	register(s, api, huma.Operation{
		OperationID: "create-notification-channel", Method: http.MethodPost, Path: "/notification-channels", Tags: tags,
		DefaultStatus: http.StatusCreated, Metadata: secretBody, Summary: "Have someone notified",
		Description: "With the operator's key and without tenant_id it is the operator's: it tells of all tenants, and of workers and their storage. " +
			"The configuration by kind: email: host, port, tls (explicit, implicit, none), username, password, from, to[]; " +
			"webhook: url, secret (whsec_ and base64, as Standard Webhooks has it); slack: url; telegram: token, chat_id, api_url; ping: url.",
	}, s.createChannel)
	register(s, api, huma.Operation{
		OperationID: "list-notification-channels", Method: http.MethodGet, Path: "/notification-channels", Tags: tags,
		Summary: "List notification channels, without their secrets",
	}, s.listChannels)
	register(s, api, huma.Operation{
		OperationID: "get-notification-channel", Method: http.MethodGet, Path: "/notification-channels/{id}", Tags: tags,
		Summary: "Get a notification channel, without its secrets",
	}, s.getChannel)
	register(s, api, huma.Operation{
		OperationID: "update-notification-channel", Method: http.MethodPatch, Path: "/notification-channels/{id}", Tags: tags,
		Metadata: secretBody, Summary: "Change a notification channel",
		Description: "Fields of config that are not given stay as they are, secrets included. Switching a channel off gives up what it has not sent.",
	}, s.updateChannel)
	register(s, api, huma.Operation{
		OperationID: "delete-notification-channel", Method: http.MethodDelete, Path: "/notification-channels/{id}", Tags: tags,
		Summary: "Delete a notification channel and its notifications",
	}, s.deleteChannel)
	register(s, api, huma.Operation{
		OperationID: "test-notification-channel", Method: http.MethodPost, Path: "/notification-channels/{id}/test", Tags: tags,
		Summary: "Send a test message, and say whether it was taken",
	}, s.testChannel)
}

type createChannelInput struct {
	TenantQuery
	Body struct {
		TenantID  *uuid.UUID  `json:"tenant_id,omitempty" format:"uuid" doc:"With the operator's key; without it the channel is the operator's"`
		Kind      string      `json:"kind" enum:"email,webhook,slack,telegram,ping"`
		Name      string      `json:"name" minLength:"1" maxLength:"200"`
		Config    Object      `json:"config"`
		Events    []string    `json:"events,omitempty" nullable:"false" maxItems:"50" doc:"Which to tell of; none given: all but backup_succeeded, which only pings have by default"`
		SourceIDs []uuid.UUID `json:"source_ids,omitempty" nullable:"false" maxItems:"1000" doc:"Of which sources; none given: of all"`
		Enabled   *bool       `json:"enabled,omitempty"`
	}
}

func (s *server) createChannel(ctx context.Context, in *createChannelInput) (*Body[Channel], error) {
	c := catalog.Channel{
		ID: catalog.NewID(), Kind: in.Body.Kind, Name: in.Body.Name, Events: in.Body.Events, SourceIDs: distinct(in.Body.SourceIDs),
		Enabled: in.Body.Enabled == nil || *in.Body.Enabled,
	}
	var err error
	if c.TenantID, err = s.channelTenant(ctx, in.Body.TenantID, in.tenant()); err != nil {
		return nil, err
	}
	if err := checkChannel(&c); err != nil {
		return nil, err
	}
	settings, faults := notify.Parse(c.Kind, in.Body.Config.RawMessage)
	if err := s.configure(&c, settings, faults); err != nil {
		return nil, err
	}
	created, err := s.scope(ctx).CreateChannel(ctx, c)
	if err != nil {
		return nil, noSource(err)
	}
	return &Body[Channel]{channelOf(created)}, nil
}

// channelTenant is nil where the operator names no tenant.
func (s *server) channelTenant(ctx context.Context, named ...*uuid.UUID) (*uuid.UUID, error) {
	if auth.From(ctx).Operator && !slices.ContainsFunc(named, func(id *uuid.UUID) bool { return id != nil }) {
		return nil, nil
	}
	tenant, err := s.tenantFor(ctx, named...)
	return &tenant, err
}

// checkChannel checks all but the configuration, and fills events in.
func checkChannel(c *catalog.Channel) error {
	if err := checkNames(named{"body.name", c.Name}); err != nil {
		return err
	}
	if len(c.Events) == 0 {
		c.Events = notify.DefaultEvents(c.Kind)
	}
	known := notify.Events()
	for _, e := range c.Events {
		if !slices.Contains(known, e) {
			return problem.Field("body.events", "there are these events: "+strings.Join(known, ", "))
		}
	}
	c.Events = distinct(c.Events)
	return nil
}

// distinct leaves each value once, in order.
func distinct[T comparable](values []T) []T {
	found := make([]T, 0, len(values))
	for _, v := range values {
		if !slices.Contains(found, v) {
			found = append(found, v)
		}
	}
	return found
}

// configure takes settings that were checked, and envelopes the secret part.
func (s *server) configure(c *catalog.Channel, settings notify.Settings, faults []notify.Fault) error {
	if len(faults) > 0 {
		errs := make([]problem.FieldError, len(faults))
		for i, f := range faults {
			errs[i] = problem.FieldError{Location: "body.config", Message: f.Message}
			if f.Field != "" {
				errs[i].Location += "." + f.Field
			}
		}
		return problem.Validation(errs...)
	}
	c.Config = settings.Shown
	var err error
	c.Secret, err = settings.Sealed(s.keyring, catalog.ChannelAD(c.TenantID, c.ID))
	return err
}

// noSource names the field; whether another tenant has such a source does not
// show.
func noSource(err error) error {
	if errors.Is(err, catalog.ErrNoSource) {
		return problem.Field("body.source_ids", "there is no such source of the tenant")
	}
	return err
}

func (s *server) listChannels(ctx context.Context, in *listInput) (*Body[List[Channel]], error) {
	page, err := in.page()
	if err != nil {
		return nil, err
	}
	rows, err := s.scope(ctx).Channels(ctx, in.tenant(), page)
	if err != nil {
		return nil, err
	}
	return listOf(rows, in.PageQuery, channelOf, func(c catalog.Channel) uuid.UUID { return c.ID }), nil
}

func (s *server) getChannel(ctx context.Context, in *IDPath) (*Body[Channel], error) {
	c, err := s.scope(ctx).Channel(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return &Body[Channel]{channelOf(c)}, nil
}

type updateChannelInput struct {
	IDPath
	Body struct {
		Name      *string      `json:"name,omitempty" minLength:"1" maxLength:"200"`
		Config    *Object      `json:"config,omitempty" doc:"What is to be changed of it"`
		Events    *[]string    `json:"events,omitempty" maxItems:"50" doc:"An empty list: those of a new channel"`
		SourceIDs *[]uuid.UUID `json:"source_ids,omitempty" maxItems:"1000" doc:"An empty list: all"`
		Enabled   *bool        `json:"enabled,omitempty"`
	}
}

func (s *server) updateChannel(ctx context.Context, in *updateChannelInput) (*Body[Channel], error) {
	updated, err := s.scope(ctx).UpdateChannel(ctx, in.ID, func(c *catalog.Channel) error {
		b := in.Body
		if b.Name != nil {
			c.Name = *b.Name
		}
		if b.Events != nil {
			c.Events = *b.Events
		}
		if b.SourceIDs != nil {
			c.SourceIDs = distinct(*b.SourceIDs)
		}
		if b.Enabled != nil {
			c.Enabled = *b.Enabled
		}
		if err := checkChannel(c); err != nil {
			return err
		}
		if b.Config == nil {
			return nil
		}
		settings, faults, err := notify.Change(s.keyring, *c, b.Config.RawMessage)
		if err != nil {
			return err
		}
		return s.configure(c, settings, faults)
	})
	if err != nil {
		return nil, noSource(err)
	}
	return &Body[Channel]{channelOf(updated)}, nil
}

func (s *server) deleteChannel(ctx context.Context, in *IDPath) (*Empty, error) {
	return &Empty{}, s.scope(ctx).DeleteChannel(ctx, in.ID)
}

// ChannelTest is how a test of a channel went.
type ChannelTest struct {
	Sent  bool   `json:"sent"`
	Error string `json:"error,omitempty" doc:"Why not"`
}

func (s *server) testChannel(ctx context.Context, in *IDPath) (*Body[ChannelTest], error) {
	c, err := s.scope(ctx).Channel(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	why, err := s.notifier.Test(ctx, c)
	if err != nil {
		return nil, err
	}
	return &Body[ChannelTest]{ChannelTest{Sent: why == "", Error: why}}, nil
}
