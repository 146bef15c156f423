package e2e

import (
	"encoding/json"
	"os"
	"testing"
	"time"

	"xvault/e2e/system"
	"xvault/internal/job"
	"xvault/internal/testenv"
)

// drillOf has a snapshot drilled, and gives what stands on it then.
func drillOf(t *testing.T, l *system.Lab, snapshotID string) job.VerifyResult {
	t.Helper()
	j := l.MustComplete(system.Post[system.Job](t, l.API, "/api/v1/snapshots/"+snapshotID+"/verify", map[string]any{"kind": "drill"}).ID, 3*time.Minute)
	var ofJob job.VerifyResult
	must(t, json.Unmarshal(j.Result, &ofJob))
	var snap struct {
		Status          string
		DrilledAt       *time.Time        `json:"drilled_at"`
		FullyVerifiedAt *time.Time        `json:"fully_verified_at"`
		VerifyResult    *job.VerifyResult `json:"verify_result"`
	}
	must(t, json.Unmarshal(l.API.Do(t, "GET", "/api/v1/snapshots/"+snapshotID, nil, 200).Body, &snap))
	if snap.Status != "completed" || snap.DrilledAt == nil || snap.FullyVerifiedAt == nil || snap.VerifyResult == nil || snap.VerifyResult.Drill == nil {
		t.Fatalf("the snapshot says %+v after %s", snap, j.Result)
	}
	for _, v := range []job.VerifyResult{ofJob, *snap.VerifyResult} {
		if v.Kind != job.VerifyDrill || !v.OK || v.Drill == nil || len(v.Drill.Databases) == 0 {
			t.Fatalf("the drill found %+v", v)
		}
		for _, d := range v.Drill.Databases {
			if !d.OK || d.Tables == 0 || d.Rows == 0 || d.Rows != d.RowsExpected || len(d.TableRows) == 0 {
				t.Errorf("the database says %+v", d)
			}
		}
	}
	nothingLeft(t, l)
	return ofJob
}

// nothingLeft looks for what jobs of workers put down.
func nothingLeft(t *testing.T, l *system.Lab) {
	t.Helper()
	for _, w := range l.Workers {
		testenv.Eventually(t, 2*time.Minute, func() bool { // it is removed once the hub knows
			left, err := os.ReadDir(w.Temp)
			return err == nil && len(left) == 0
		}, "something is left in %s", w.Temp)
	}
}
