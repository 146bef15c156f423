package job

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
