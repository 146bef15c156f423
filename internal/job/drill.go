package job

import (
	"cmp"
	"fmt"
	"slices"
)

// DrillResult is what came out when the dumps of a snapshot were loaded.
type DrillResult struct {
	// Server is what they were loaded into: "PostgreSQL 15.18".
	Server    string          `json:"server,omitempty"`
	Databases []DrillDatabase `json:"databases"`
	// Notes are what a person should know beside that.
	Notes []string `json:"notes,omitempty"`
}

// DrillDatabase is one database of them.
type DrillDatabase struct {
	Name string `json:"name"`
	OK   bool   `json:"ok"`
	// Tables, with RowsExpected in the dump and Rows found in the server, of all
	// tables that the dump has rows for.
	Tables       int64 `json:"tables"`
	RowsExpected int64 `json:"rows_expected"`
	Rows         int64 `json:"rows"`
	// Checks are what else was looked at: so many things, all of them sound where
	// OK is true.
	Checks []DrillCheck `json:"checks,omitempty"`
	// TableRows are the first of them, those that differ before all others.
	TableRows []DrillTable `json:"table_rows,omitempty"`
	// Code and Problem say what is wrong, or why nothing can be said.
	Code    Code   `json:"code,omitempty"`
	Problem string `json:"problem,omitempty"`
}

// DrillTable is one table.
type DrillTable struct {
	Name     string `json:"name"`
	Expected int64  `json:"expected"`
	Rows     int64  `json:"rows"`
}

// DrillCheck counts things of one sort that were looked at.
type DrillCheck struct {
	Name  string `json:"name"`
	Count int64  `json:"count"`
}

// MaxDrillTables is how many tables a result names.
const MaxDrillTables = 100

// Disproves reports whether a drill that failed with this code has shown that what was
// backed up does not restore. Everything else says nothing about the snapshot, or
// ProvesDamage.
func (c Code) Disproves() bool { return c == DumpFailed }

// Undecided is the reason not to begin a drill, after its dumps were looked at: nothing
// in it can be loaded, whatever is installed.
func (r DrillResult) Undecided() error {
	if len(r.Databases) == 0 {
		return Errorf(Unprovable, "the snapshot holds no dump of a database, so that there is nothing to load")
	}
	if slices.ContainsFunc(r.Databases, func(d DrillDatabase) bool { return d.Code == "" }) {
		return nil
	}
	return r.Verdict()
}

// Verdict is what all databases come to: that one does not load weighs more than that of
// another nothing is known.
func (r DrillResult) Verdict() error {
	var worst *DrillDatabase
	for i := range r.Databases {
		d := &r.Databases[i]
		if d.Code != "" && (worst == nil || d.Code.Disproves() && !worst.Code.Disproves()) {
			worst = d
		}
	}
	if worst == nil {
		return nil
	}
	return &Error{Code: worst.Code, Message: fmt.Sprintf("The database %q: %s", worst.Name, worst.Problem)}
}

// Tally takes the figures of all its tables, and gives what differs in words.
func (d *DrillDatabase) Tally(tables []DrillTable) (wrong []string) {
	d.Tables = int64(len(tables))
	for _, t := range tables {
		d.RowsExpected += t.Expected
		d.Rows += t.Rows
		if t.differs() {
			wrong = append(wrong, fmt.Sprintf("the table %q has %d rows, and %d are in the dump", t.Name, t.Rows, t.Expected))
		}
	}
	sorted := slices.Clone(tables)
	slices.SortStableFunc(sorted, func(a, b DrillTable) int {
		switch {
		case a.differs() == b.differs():
			return cmp.Compare(b.Rows, a.Rows)
		case a.differs():
			return -1
		default:
			return 1
		}
	})
	d.TableRows = sorted[:min(len(sorted), MaxDrillTables)]
	return wrong
}

func (t DrillTable) differs() bool { return t.Expected != t.Rows }
