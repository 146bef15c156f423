package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"xvault/archive"
	"xvault/connectors"
	"xvault/internal/failpoint"
	"xvault/internal/job"
	"xvault/worker/artifact"
)

// drill has the dumps of a snapshot loaded, once all of the snapshot was found whole.
// Its result is nil where it did not come to look at them.
func (w *Worker) drill(ctx context.Context, v *verification) (*job.DrillResult, error) {
	kind, ok := w.cfg.SourceTypes.Lookup(v.a.claim.Source.Type)
	if !ok || !kind.Drillable() {
		return nil, job.Errorf(job.Unprovable, "This worker cannot load the dumps of sources of type %q; update it.", v.a.claim.Source.Type)
	}
	store, err := v.store()
	if err != nil {
		return nil, err
	}
	opened, err := artifact.Open(ctx, store, v.request.Request)
	if err != nil {
		return nil, changedMeanwhile(err)
	}
	if err := failpoint.Hit("drill.begin"); err != nil {
		return nil, errors.Join(err, opened.Close())
	}
	v.a.progress.expects(0) // loading takes as long as it takes
	result, err := kind.Drill(ctx, w.drillEnv(v, opened))
	if closeErr := opened.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = failpoint.Hit("drill.done")
	}
	return &result, changedMeanwhile(err)
}

func (w *Worker) drillEnv(v *verification, opened *artifact.Artifact) connectors.DrillEnv {
	return connectors.DrillEnv{
		Visit: func(ctx context.Context, paths []string, visit func(connectors.TargetItem) error) error {
			_, err := opened.Unpack(ctx, paths, func(e archive.Unpacked) error {
				return visit(connectors.TargetItem{Header: e.Header, Above: e.Above, Content: e.Content, Body: e.Body})
			})
			return artifact.Explain(err)
		},
		TempDir: v.a.folder.path, User: w.cfg.DrillUser, Log: v.a.log,
		Phase: func(phase string) {
			v.a.progress.enter(phase)
			_ = failpoint.Hit("drill." + phase) // to be killed at
		},
	}
}

// changedMeanwhile: all of it was whole a moment ago, and what is seen once proves
// nothing.
func changedMeanwhile(err error) error {
	err = artifact.Explain(err)
	if !job.CodeOf(err).ProvesDamage() {
		return err
	}
	return &job.Error{
		Code: job.StorageFailed, Err: err,
		Message: "The snapshot was whole when it was read first, and was not when its dumps were to be loaded, so that nothing is concluded about it. " +
			"Check the disk, its cable and the memory of the worker's machine.",
	}
}

// encodeVerified names tables and, where that is still too much, databases as far as a
// result holds them.
func encodeVerified(v job.VerifyResult) ([]byte, error) {
	if v.Drill != nil {
		v.Drill = boundedDrill(*v.Drill)
	}
	for tables := job.MaxDrillTables; ; {
		encoded, err := json.Marshal(v)
		if err != nil || len(encoded) <= maxResult || v.Drill == nil || len(v.Drill.Databases) == 0 {
			return encoded, err
		}
		if tables > 0 {
			tables /= 2
			v.Drill = fewer(*v.Drill, tables)
			continue
		}
		shown := len(v.Drill.Databases) / 2
		v.Drill.Databases = v.Drill.Databases[:shown]
	}
}

// maxDrilled is how many databases a result names, maxListed how many surely.
const (
	maxDrilled = 200
	maxListed  = 40
)

// boundedDrill cuts texts, and keeps what is wrong before what is not.
func boundedDrill(d job.DrillResult) *job.DrillResult {
	var bad, good []job.DrillDatabase
	for _, database := range d.Databases {
		database.Name, database.Problem = cutText(archive.Escape(database.Name), 256), cutText(archive.Escape(database.Problem), 1<<10)
		tables := make([]job.DrillTable, len(database.TableRows))
		for i, t := range database.TableRows {
			t.Name = cutText(archive.Escape(t.Name), 256)
			tables[i] = t
		}
		database.TableRows = tables
		if database.OK {
			good = append(good, database)
		} else {
			bad = append(bad, database)
		}
	}
	all := slices.Concat(bad, good)
	out := job.DrillResult{Server: cutText(d.Server, 128), Databases: append([]job.DrillDatabase{}, all[:min(len(all), maxDrilled)]...)}
	for _, note := range d.Notes[:min(len(d.Notes), maxNamed)] {
		out.Notes = append(out.Notes, cutText(archive.Escape(note), 512))
	}
	if len(all) > maxListed {
		out.Notes = append(out.Notes, fmt.Sprintf("%d databases were loaded, or tried; not all of them may be listed", len(all)))
	}
	return fewer(out, job.MaxDrillTables)
}

// fewer names so many tables at most, of all databases together.
func fewer(d job.DrillResult, tables int) *job.DrillResult {
	left := tables
	databases := make([]job.DrillDatabase, len(d.Databases))
	for i, database := range d.Databases {
		n := min(left, len(database.TableRows))
		database.TableRows = database.TableRows[:n]
		left -= n
		databases[i] = database
	}
	d.Databases = databases
	return &d
}
