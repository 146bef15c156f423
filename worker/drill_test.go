package worker

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"xvault/connectors"
	"xvault/internal/job"
	"xvault/internal/testenv"
	"xvault/store/blob"
)

// A drill comes after everything else is found whole, gets what is in the snapshot as
// often as it asks, and its word is what the job ends with.
func TestDrill(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.start()
	s := l.sealed()
	calls := 0
	var verdict error
	l.source.drill = func(ctx context.Context, env connectors.DrillEnv) (job.DrillResult, error) {
		calls++
		dir, err := env.TempDir()
		if err != nil {
			return job.DrillResult{}, err
		}
		if err := os.WriteFile(dir+"/left", nil, 0o600); err != nil {
			return job.DrillResult{}, err
		}
		for range 2 {
			var read int64
			err := env.Visit(ctx, []string{"srv/noise"}, func(item connectors.TargetItem) error {
				if item.Body == nil {
					return nil
				}
				n, err := io.Copy(io.Discard, item.Body)
				read += n
				return err
			})
			if err != nil || read != 300_000 {
				return job.DrillResult{}, fmt.Errorf("read %d bytes: %w", read, err)
			}
		}
		env.Phase("testing")
		return drillOfMany(), verdict
	}
	for _, tt := range []struct {
		verdict error
		code    job.Code
		problem string
	}{
		{nil, "", ""},
		{job.Errorf(job.DumpFailed, "it does not load"), job.DumpFailed, "it does not load"},
		{job.Errorf(job.Unprovable, "an extension is missing"), job.Unprovable, "an extension is missing"},
	} {
		verdict = tt.verdict
		done, r := l.verified(s, job.VerifyDrill)
		if r.Kind != job.VerifyDrill || r.Drill == nil || r.Files != 3 || r.Code != tt.code || r.OK != (tt.code == "") || done.Status == job.Completed != r.OK {
			t.Fatalf("%v: %+v, %.2000s", tt.verdict, done.Error, done.Result)
		}
		if tt.code != "" && (done.Error.Code != tt.code || r.Problem != tt.problem) {
			t.Errorf("%v: %+v, %q", tt.verdict, done.Error, r.Problem)
		}
		if d := r.Drill.Databases; len(d) < 40 || d[0].OK || len(done.Result) > maxResult || len(r.Drill.Notes) == 0 {
			t.Errorf("%d databases in %d bytes, first %+v", len(d), len(done.Result), d[0])
		}
	}
	testenv.Eventually(t, 2*time.Minute, func() bool { // it is removed once the hub knows
		left, err := os.ReadDir(l.worker.cfg.TempDir)
		return err == nil && len(left) == 0
	}, "the job's folder is still there")
	calls = 0
	change(t, filepath.Join(s.dir, blob.Artifact), flipped(-200_000))
	if done, r := l.verified(s, job.VerifyDrill); done.Error == nil || done.Error.Code != job.ArtifactCorrupt || r.Drill != nil || calls != 0 {
		t.Errorf("of what is damaged: %+v, %+v, %d calls", done.Error, r, calls)
	}
}

// drillOfMany is more than a result holds.
func drillOfMany() job.DrillResult {
	var d job.DrillResult
	for i := range 3 * maxDrilled {
		database := job.DrillDatabase{Name: fmt.Sprintf("database %d", i), OK: i != 2*maxDrilled, Problem: strings.Repeat("x", 10_000)}
		for j := range job.MaxDrillTables {
			database.TableRows = append(database.TableRows, job.DrillTable{Name: strings.Repeat("y", j*10), Expected: 1, Rows: 1})
		}
		d.Databases = append(d.Databases, database)
	}
	return d
}
