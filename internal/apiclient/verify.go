package apiclient

import (
	"context"
	"encoding/json"
	"net/http"

	"xvault/internal/job"
)

// VerifySnapshot has a snapshot verified, and gives the job that does it.
func (c *Client) VerifySnapshot(ctx context.Context, id string, kind job.VerifyKind) (Item[Job], error) {
	body := struct {
		Kind job.VerifyKind `json:"kind"`
	}{kind}
	return c.Jobs().decode(c.call(ctx, http.MethodPost, c.Snapshots().of(id)+"/verify", nil, body))
}

// Verification reads what a verify job found; false where it came to no verdict.
func (j Job) Verification() (job.VerifyResult, bool) {
	var v job.VerifyResult
	if j.Type != job.Verify || len(j.Result) == 0 || json.Unmarshal(j.Result, &v) != nil || v.Kind == "" {
		return job.VerifyResult{}, false
	}
	return v, true
}
