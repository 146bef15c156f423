package api

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"xvault/hub/problem"
	"xvault/hub/prune"
	"xvault/hub/retention"
	"xvault/store/catalog"
)

// RetentionPreview is what a retention run would do to a source.
type RetentionPreview struct {
	Keep       []RetentionDecision `json:"keep" nullable:"false"`
	Remove     []RetentionDecision `json:"remove" nullable:"false"`
	FreedBytes int64               `json:"freed_bytes" doc:"Size of the artifacts in remove"`
}

// RetentionDecision is what would become of one snapshot.
type RetentionDecision struct {
	SnapshotID uuid.UUID `json:"snapshot_id" format:"uuid"`
	Reasons    []string  `json:"reasons" nullable:"false" doc:"Each begins with a word: the rule's name, hold, in_use, last_good, no_rule, ... Details stand in parentheses"`
	Status     string    `json:"status" doc:"The snapshot's"`
	StartedAt  Time      `json:"started_at"`
	SizeBytes  int64     `json:"size_bytes"`
}

func (s *server) registerRetention(api huma.API) {
	register(s, api, huma.Operation{
		OperationID: "preview-retention", Method: http.MethodPost, Path: "/sources/{id}/retention/preview", Tags: []string{"sources"},
		Summary: "See what retention would remove, and why",
		Description: "With a retention_policy: what a run by it would do now. Without: what the next run by the policies of the source's schedules does. " +
			"Nothing is changed. Snapshots that are being deleted are not listed, unless the run would take them back.",
	}, s.previewRetention)
}

// policyBody is a policy as it came; its own parser names what is wrong.
type policyBody struct{ json.RawMessage }

// Schema describes the policy's fields; the parser is stricter than this.
func (policyBody) Schema(huma.Registry) *huma.Schema {
	zero, most := 0.0, float64(retention.MaxCount)
	count := func(what string) *huma.Schema {
		return &huma.Schema{Type: huma.TypeInteger, Minimum: &zero, Maximum: &most, Description: what}
	}
	return &huma.Schema{
		Type: huma.TypeObject, AdditionalProperties: true,
		Description: "Which good snapshots stay. Without any rule all of them do.",
		Properties: map[string]*huma.Schema{
			"keep_last": count("The newest"), "keep_hourly": count("The newest of each of so many hours that have one"),
			"keep_daily": count("Of each of so many days"), "keep_weekly": count("Of each of so many ISO weeks"),
			"keep_monthly": count("Of each of so many months"), "keep_yearly": count("Of each of so many years"),
			"keep_within": {Type: huma.TypeString, Description: "All within this span before the newest good one: 1y6m2w7d12h"},
			"min_keep":    count("Never fewer good ones than this"),
		},
	}
}

type previewRetentionInput struct {
	IDPath
	Body struct {
		Policy   *policyBody `json:"retention_policy,omitempty" doc:"Default: the policies of the source's schedules"`
		Timezone string      `json:"timezone,omitempty" maxLength:"64" doc:"IANA name, of the days and weeks of retention_policy. Default: that of the source's first schedule, else UTC"`
	}
}

func (s *server) previewRetention(ctx context.Context, in *previewRetentionInput) (*Body[RetentionPreview], error) {
	view, err := s.scope(ctx).RetentionView(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	rules, err := in.rules(view)
	if err != nil {
		return nil, err
	}
	return &Body[RetentionPreview]{previewOf(prune.Foresee(rules, view))}, nil
}

func (in *previewRetentionInput) rules(view catalog.RetentionView) ([]retention.Rule, error) {
	if in.Body.Policy == nil {
		if in.Body.Timezone != "" {
			return nil, problem.Field("body.timezone", "it goes with a retention_policy; the schedules have zones of their own")
		}
		return prune.Rules(view)
	}
	policy, err := parsePolicy(in.Body.Policy.RawMessage)
	if err != nil {
		return nil, err
	}
	zone := in.Body.Timezone
	if zone == "" && len(view.Rules) > 0 {
		zone = view.Rules[0].Timezone
	}
	location, err := time.LoadLocation(zone)
	if err != nil || zone == "Local" {
		return nil, problem.Field("body.timezone", "there is no such time zone; it is a name such as Europe/Berlin")
	}
	return []retention.Rule{{Policy: policy, Zone: location}}, nil
}

// parsePolicy reads a policy and names the field of each fault.
func parsePolicy(raw json.RawMessage) (retention.Policy, error) {
	if _, faults := retentionPolicy(raw); len(faults) > 0 {
		return retention.Policy{}, problem.Validation(faults...)
	}
	return retention.ParsePolicy(raw)
}

func previewOf(p prune.Preview) RetentionPreview {
	return RetentionPreview{Keep: decisionsOf(p.Keep), Remove: decisionsOf(p.Remove), FreedBytes: p.FreedBytes}
}

func decisionsOf(all []prune.Previewed) []RetentionDecision {
	out := make([]RetentionDecision, len(all))
	for i, p := range all {
		s := p.Snapshot
		out[i] = RetentionDecision{SnapshotID: s.ID, Reasons: p.Reasons, Status: string(s.Status), StartedAt: Time{s.StartedAt}, SizeBytes: s.SizeBytes}
	}
	return out
}
