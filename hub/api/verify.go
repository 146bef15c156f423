package api

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"xvault/hub/problem"
	"xvault/hub/retention"
	"xvault/internal/job"
	"xvault/store/catalog"
)

func (s *server) registerVerify(api huma.API) {
	register(s, api, huma.Operation{
		OperationID: "verify-snapshot", Method: http.MethodPost, Path: "/snapshots/{id}/verify", Tags: []string{"snapshots"},
		DefaultStatus: http.StatusCreated, Summary: "Read a snapshot again and compare it with what it was",
		Description: "Queues a job for the worker that has the files. quick, the default: they are there, the artifact has its size and its SHA-256, and what " +
			"stands beside it is what the hub knows. full: beside that the artifact is opened with the tenant's key, and every file in it has its SHA-256. " +
			"drill: beside that the dumps of databases are loaded into a scratch server on the worker, and their rows are counted; for sources of the types " +
			"postgres, mysql and wordpress (422 otherwise). A job that fails with artifact_missing or artifact_corrupt has made the snapshot corrupt, and a new backup of its source is queued; " +
			"a drill that fails with dump_failed has made it suspicious; unprovable and any other failure say nothing about the snapshot. 409: snapshot_deleting, snapshot_deleted, worker_removed, not_on_worker.",
	}, s.verifySnapshot)
}

type verifyRequest struct {
	Kind string `json:"kind,omitempty" enum:"quick,full,drill" doc:"Default: quick"`
}

type verifyInput struct {
	IDPath
	Body *verifyRequest `required:"false"`
}

func (s *server) verifySnapshot(ctx context.Context, in *verifyInput) (*Body[Job], error) {
	kind := job.VerifyQuick
	if in.Body != nil && in.Body.Kind != "" {
		kind = job.VerifyKind(in.Body.Kind)
	}
	if kind == job.VerifyDrill {
		if err := s.mayDrill(ctx, in.ID); err != nil {
			return nil, err
		}
	}
	created, err := s.scope(ctx).CreateVerify(ctx, in.ID, kind)
	if err != nil {
		return nil, err
	}
	s.log.InfoContext(ctx, "verification queued", "job_id", created.ID, "snapshot_id", in.ID, "kind", kind, "request_id", requestID(ctx))
	return &Body[Job]{jobOf(created)}, nil
}

// VerifyResult is what the last verification found that came to a verdict.
type VerifyResult struct {
	Kind       string    `json:"kind" enum:"quick,full,drill"`
	OK         bool      `json:"ok"`
	Files      int64     `json:"files" doc:"Whose content was checked; 0 of a quick one, which does not look inside"`
	Bytes      int64     `json:"bytes" doc:"In these files"`
	SizeBytes  int64     `json:"size_bytes" doc:"Of the artifact, as far as it was read"`
	DurationMS int64     `json:"duration_ms"`
	Code       string    `json:"code,omitempty" doc:"artifact_missing or artifact_corrupt; of a drill dump_failed as well"`
	Problem    string    `json:"problem,omitempty" doc:"What is wrong"`
	Drill      *Drill    `json:"drill,omitempty" doc:"What became of the dumps, of a drill"`
	JobID      uuid.UUID `json:"job_id" format:"uuid"`
}

// Schema says that it may be null, which a reference to it could not.
func (VerifyResult) Schema(r huma.Registry) *huma.Schema {
	type fields VerifyResult
	return nullable[fields](r)
}

func verifyResultOf(stored json.RawMessage) *VerifyResult {
	var v *VerifyResult
	if len(stored) > 0 {
		// The hub wrote it.
		_ = json.Unmarshal(stored, &v)
	}
	return v
}

// Verify is a source's rhythm of verification.
type Verify struct {
	VerifyEvery   *string `json:"verify_every" example:"7d" doc:"How often the newest good snapshot is verified by itself; null: never"`
	VerifyKind    string  `json:"verify_kind" enum:"quick,full,drill" doc:"How"`
	ReverifyAfter *string `json:"reverify_after" example:"90d" doc:"Good snapshots that were not verified for so long are verified again; null: never"`
}

func verifyOf(r catalog.VerifyRhythm) Verify {
	return Verify{VerifyEvery: spanText(r.EveryHours), VerifyKind: r.Kind, ReverifyAfter: spanText(r.AgainHours)}
}

func spanText(hours *int32) *string {
	if hours == nil {
		return nil
	}
	return new(retention.Span{Days: int(*hours / 24), Hours: int(*hours % 24)}.String())
}

// SpanChange is a length of time that can be changed: null or an empty text
// removes it.
type SpanChange struct {
	text  string
	given bool
}

// UnmarshalJSON notes that it was there.
func (c *SpanChange) UnmarshalJSON(raw []byte) error {
	c.given = true
	return json.Unmarshal(raw, &c.text) // which null leaves empty
}

// Schema says that it may be null.
func (SpanChange) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Nullable: true, MaxLength: new(32), Examples: []any{"7d"}}
}

// maxSpanHours is ten years.
const maxSpanHours = 87600

// hours reads it; nil for none.
func (c SpanChange) hours(location string) (*int32, error) {
	if c.text == "" {
		return nil, nil
	}
	span, err := retention.ParseSpan(c.text)
	hours := 24*span.Days + span.Hours
	if err != nil || span.Years+span.Months > 0 || hours < 1 || hours > maxSpanHours {
		return nil, problem.Field(location, `it must be weeks, days and hours between 1h and 3650d, such as "7d" or "1d12h"; null for never`)
	}
	return new(int32(hours)), nil
}

// VerifyChange is what POST and PATCH of a source may say about its rhythm.
type VerifyChange struct {
	VerifyEvery   SpanChange `json:"verify_every,omitzero" doc:"How often the newest good snapshot is verified by itself, in weeks, days and hours (7d); null: never"`
	VerifyKind    *string    `json:"verify_kind,omitempty" enum:"quick,full,drill" doc:"How. Default: quick"`
	ReverifyAfter SpanChange `json:"reverify_after,omitzero" doc:"Verify good snapshots again that were not verified for so long (90d); null: never"`
}

// apply gives what changes a rhythm; nil where nothing is to be changed.
func (c VerifyChange) apply() (func(*catalog.VerifyRhythm), error) {
	every, err := c.VerifyEvery.hours("body.verify_every")
	if err != nil {
		return nil, err
	}
	again, err := c.ReverifyAfter.hours("body.reverify_after")
	if err != nil {
		return nil, err
	}
	if !c.VerifyEvery.given && !c.ReverifyAfter.given && c.VerifyKind == nil {
		return nil, nil
	}
	return func(r *catalog.VerifyRhythm) {
		if c.VerifyEvery.given {
			r.EveryHours = every
		}
		if c.ReverifyAfter.given {
			r.AgainHours = again
		}
		if c.VerifyKind != nil {
			r.Kind = *c.VerifyKind
		}
	}, nil
}
