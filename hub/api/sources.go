package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"xvault/hub/problem"
	"xvault/store/catalog"
)

// Source is one thing to back up.
type Source struct {
	ID             uuid.UUID  `json:"id" format:"uuid"`
	TenantID       uuid.UUID  `json:"tenant_id" format:"uuid"`
	Type           string     `json:"type"`
	Name           string     `json:"name"`
	Config         Object     `json:"config" doc:"With all defaults filled in"`
	CredentialID   *uuid.UUID `json:"credential_id" format:"uuid"`
	Status         string     `json:"status" enum:"active,disabled"`
	PinnedHostKeys []string   `json:"pinned_host_keys" nullable:"false" doc:"Host keys that were trusted on first use"`
	Bandwidth      *Bandwidth `json:"bandwidth,omitempty" doc:"Not there: no limit"`
	MaxAgeHours    int32      `json:"max_age_hours,omitempty" doc:"For how long nothing may have succeeded before someone is notified. Not there: any time"`
	Verify
	CreatedAt Time `json:"created_at"`
	UpdatedAt Time `json:"updated_at"`
}

func sourceOf(c catalog.Source) Source {
	return Source{
		c.ID, c.TenantID, c.Type, c.Name, Object{c.Config}, c.CredentialID, c.Status, c.PinnedHostKeys, bandwidthOf(c.Bandwidth),
		deref(c.MaxAgeHours), verifyOf(c.VerifyRhythm), Time{c.CreatedAt}, Time{c.UpdatedAt},
	}
}

func (s *server) registerSources(api huma.API) {
	tags := []string{"sources"}
	register(s, api, huma.Operation{
		OperationID: "create-source", Method: http.MethodPost, Path: "/sources", Tags: tags, DefaultStatus: http.StatusCreated,
		Summary: "Create a source",
	}, s.createSource)
	register(s, api, huma.Operation{
		OperationID: "list-sources", Method: http.MethodGet, Path: "/sources", Tags: tags, Summary: "List sources",
	}, s.listSources)
	register(s, api, huma.Operation{
		OperationID: "get-source", Method: http.MethodGet, Path: "/sources/{id}", Tags: tags, Summary: "Get a source",
	}, s.getSource)
	register(s, api, huma.Operation{
		OperationID: "update-source", Method: http.MethodPatch, Path: "/sources/{id}", Tags: tags, Summary: "Change a source",
		Description: "config is replaced as a whole. Pinned host keys are forgotten when the host or the port changes.",
	}, s.updateSource)
	register(s, api, huma.Operation{
		OperationID: "delete-source", Method: http.MethodDelete, Path: "/sources/{id}", Tags: tags,
		Summary: "Delete a source that has no snapshots and no unfinished jobs",
	}, s.deleteSource)
}

type createSourceInput struct {
	TenantQuery
	Body struct {
		TenantID     *uuid.UUID `json:"tenant_id,omitempty" format:"uuid" doc:"With the operator's key"`
		Type         string     `json:"type" minLength:"1" maxLength:"32"`
		Name         string     `json:"name" minLength:"1" maxLength:"200"`
		CredentialID uuid.UUID  `json:"credential_id" format:"uuid"`
		Config       Object     `json:"config" doc:"What it holds depends on type"`
		Bandwidth    *Bandwidth `json:"bandwidth,omitempty" doc:"A limit on what passes between worker and source"`
		MaxAgeHours  *int32     `json:"max_age_hours,omitempty" minimum:"1" maximum:"87600" doc:"For how long nothing may have succeeded before someone is notified"`
		VerifyChange
	}
}

func (s *server) createSource(ctx context.Context, in *createSourceInput) (*Body[Source], error) {
	tenant, err := s.tenantFor(ctx, in.Body.TenantID, in.tenant())
	if err != nil {
		return nil, err
	}
	if err := checkNames(named{"body.name", in.Body.Name}); err != nil {
		return nil, err
	}
	config, err := s.validateConfig(in.Body.Type, in.Body.Config)
	if err != nil {
		return nil, err
	}
	var limit json.RawMessage
	if in.Body.Bandwidth != nil {
		if limit, err = in.Body.Bandwidth.plan(); err != nil {
			return nil, err
		}
	}
	if err := s.mayRhythm(in.Body.VerifyChange, in.Body.Type); err != nil {
		return nil, err
	}
	change, err := in.Body.apply()
	if err != nil {
		return nil, err
	}
	var rhythm catalog.VerifyRhythm
	if change != nil {
		change(&rhythm)
	}
	created, err := s.scope(ctx).CreateSource(ctx, catalog.NewSource{
		ID: catalog.NewID(), TenantID: tenant, Type: in.Body.Type, Name: in.Body.Name,
		Config: config, CredentialID: &in.Body.CredentialID, Bandwidth: limit, MaxAgeHours: in.Body.MaxAgeHours,
		Verify: rhythm,
	})
	if err != nil {
		return nil, noCredential(err)
	}
	return &Body[Source]{sourceOf(created)}, nil
}

// validateConfig has the type's connector check a configuration and returns it
// in canonical form.
func (s *server) validateConfig(typeName string, config Object) ([]byte, error) {
	sourceType, ok := s.sourceType(typeName)
	if !ok {
		return nil, problem.Validation(problem.FieldError{
			Location: "body.type", Message: "this hub has no such type of source", Value: typeName,
		})
	}
	canonical, faults := sourceType.Validate(config.RawMessage)
	if len(faults) == 0 {
		return canonical, nil
	}
	errs := make([]problem.FieldError, len(faults))
	for i, fault := range faults {
		errs[i] = problem.FieldError{Location: "body.config", Message: fault.Message}
		if fault.Field != "" {
			errs[i].Location += "." + fault.Field
		}
	}
	return nil, problem.Validation(errs...)
}

// noCredential names the field; whether another tenant has such a credential
// does not show.
func noCredential(err error) error {
	if errors.Is(err, catalog.ErrNoCredential) {
		return problem.Field("body.credential_id", "the tenant has no such credential for sources")
	}
	if errors.Is(err, catalog.ErrNoSSHCredential) {
		return problem.Field("body.config.ssh.credential_id", "the tenant has no such credential for sources")
	}
	return err
}

func (s *server) listSources(ctx context.Context, in *listInput) (*Body[List[Source]], error) {
	page, err := in.page()
	if err != nil {
		return nil, err
	}
	rows, err := s.scope(ctx).Sources(ctx, in.tenant(), page)
	if err != nil {
		return nil, err
	}
	return listOf(rows, in.PageQuery, sourceOf, func(c catalog.Source) uuid.UUID { return c.ID }), nil
}

func (s *server) getSource(ctx context.Context, in *IDPath) (*Body[Source], error) {
	source, err := s.scope(ctx).Source(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return &Body[Source]{sourceOf(source)}, nil
}

type updateSourceInput struct {
	IDPath
	Body struct {
		Name           *string         `json:"name,omitempty" minLength:"1" maxLength:"200"`
		Status         *string         `json:"status,omitempty" enum:"active,disabled"`
		CredentialID   *uuid.UUID      `json:"credential_id,omitempty" format:"uuid"`
		Config         *Object         `json:"config,omitempty" doc:"The whole configuration"`
		Bandwidth      BandwidthChange `json:"bandwidth,omitzero" doc:"The whole limit, from the next job on; null or an empty object removes it"`
		MaxAgeHours    *int32          `json:"max_age_hours,omitempty" minimum:"0" maximum:"87600" doc:"For how long nothing may have succeeded before someone is notified; 0: any time"`
		PinnedHostKeys *[]string       `json:"pinned_host_keys,omitempty" maxItems:"0" doc:"An empty list forgets the host keys that were trusted on first use"`
		VerifyChange
	}
}

func (s *server) updateSource(ctx context.Context, in *updateSourceInput) (*Body[Source], error) {
	if err := checkNames(named{"body.name", deref(in.Body.Name)}); err != nil {
		return nil, err
	}
	scope := s.scope(ctx)
	source, err := scope.Source(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	change := catalog.SourceChange{
		Name: in.Body.Name, Status: in.Body.Status, CredentialID: in.Body.CredentialID,
		ForgetHostKeys: in.Body.PinnedHostKeys != nil, MaxAgeHours: in.Body.MaxAgeHours,
	}
	if in.Body.Config != nil {
		if change.Config, err = s.validateConfig(source.Type, *in.Body.Config); err != nil {
			return nil, err
		}
	}
	if in.Body.Bandwidth.given {
		limit, err := in.Body.Bandwidth.plan()
		if err != nil {
			return nil, err
		}
		change.Bandwidth = &limit
	}
	if err := s.mayEnable(source, change); err != nil {
		return nil, err
	}
	if err := s.mayRhythm(in.Body.VerifyChange, source.Type); err != nil {
		return nil, err
	}
	if change.Verify, err = in.Body.apply(); err != nil {
		return nil, err
	}
	if source, err = scope.UpdateSource(ctx, in.ID, change); err != nil {
		return nil, noCredential(err)
	}
	return &Body[Source]{sourceOf(source)}, nil
}

// mayEnable refuses to enable what cannot be backed up: a source that came out of
// a rebuilt catalog has neither configuration nor credential.
func (s *server) mayEnable(source catalog.Source, change catalog.SourceChange) error {
	if deref(change.Status) != catalog.SourceActive || source.Status == catalog.SourceActive {
		return nil
	}
	if source.CredentialID == nil && change.CredentialID == nil {
		return problem.Field("body.credential_id", "the source has none: give it one before it is enabled")
	}
	if change.Config != nil {
		return nil // just checked
	}
	_, err := s.validateConfig(source.Type, Object{source.Config})
	return err
}

func (s *server) deleteSource(ctx context.Context, in *IDPath) (*Empty, error) {
	return &Empty{}, s.scope(ctx).DeleteSource(ctx, in.ID)
}
