package api

import (
	"context"

	"github.com/google/uuid"

	"xvault/hub/problem"
	"xvault/internal/job"
)

// Drill is what became of the dumps of a snapshot that were loaded.
type Drill struct {
	Server    string          `json:"server,omitempty" doc:"What they were loaded into"`
	Databases []DrillDatabase `json:"databases" doc:"At most 200, those that failed first"`
	Notes     []string        `json:"notes,omitempty"`
}

// DrillDatabase is one database of them.
type DrillDatabase struct {
	Name         string       `json:"name"`
	OK           bool         `json:"ok"`
	Tables       int64        `json:"tables" doc:"That the dump has rows for"`
	RowsExpected int64        `json:"rows_expected" doc:"In the dump"`
	Rows         int64        `json:"rows" doc:"Found in the server"`
	Checks       []DrillCheck `json:"checks,omitempty" doc:"What else was looked at"`
	TableRows    []DrillTable `json:"table_rows,omitempty" doc:"At most 100 of all databases together, those that differ first"`
	Code         string       `json:"code,omitempty" doc:"dump_failed or unprovable"`
	Problem      string       `json:"problem,omitempty"`
}

// DrillTable is one table of a database.
type DrillTable struct {
	Name     string `json:"name"`
	Expected int64  `json:"expected"`
	Rows     int64  `json:"rows"`
}

// DrillCheck counts things of one sort.
type DrillCheck struct {
	Name  string `json:"name"`
	Count int64  `json:"count"`
}

// mayDrill refuses where the snapshot's source has no databases.
func (s *server) mayDrill(ctx context.Context, snapshot uuid.UUID) error {
	scope := s.scope(ctx)
	found, err := scope.Snapshot(ctx, snapshot)
	if err != nil {
		return err
	}
	source, err := scope.Source(ctx, found.SourceID)
	if err != nil {
		return err
	}
	return s.drillable("body.kind", source.Type)
}

// drillable refuses types of sources without databases.
func (s *server) drillable(location, name string) error {
	if found, ok := s.sourceType(name); ok && found.Drillable() {
		return nil
	}
	return problem.Field(location, "a drill loads the dumps of databases, and snapshots of sources of type "+name+" hold none; choose full")
}

// mayRhythm is drillable, of a rhythm.
func (s *server) mayRhythm(c VerifyChange, name string) error {
	if c.VerifyKind == nil || job.VerifyKind(*c.VerifyKind) != job.VerifyDrill {
		return nil
	}
	return s.drillable("body.verify_kind", name)
}
