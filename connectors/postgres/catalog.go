package postgres

import (
	"slices"
	"strconv"
	"time"

	"xvault/internal/job"
)

// yes is how PostgreSQL writes true.
const yes = "t"

// about is what there is to know of a server and of the role that reads it.
type about struct {
	version   string // "15.18 (Debian 15.18-0+deb12u1)"
	number    int    // 150018
	now       time.Time
	superuser bool
	passwords bool // those of roles can be read
	anyRow    bool // row-level security does not hold for the role
	readsAll  bool // it is a member of pg_read_all_data
}

// major is the version's first number; 9.6 counts as 9, as clients since 10 know it.
func (a about) major() int { return a.number / 10000 }

// hasReadAll reports whether the server knows the role pg_read_all_data.
func (a about) hasReadAll() bool { return a.number >= 140000 }

func (in *inspector) about() (about, error) {
	row, err := in.one(7, `SELECT current_setting('server_version'), current_setting('server_version_num'),
			floor(extract(epoch FROM now()))::bigint, r.rolsuper, r.rolsuper OR r.rolbypassrls,
			has_table_privilege('pg_catalog.pg_authid', 'SELECT'),
			EXISTS (SELECT FROM pg_catalog.pg_roles a WHERE a.rolname = 'pg_read_all_data' AND pg_has_role(a.oid, 'USAGE'))
		FROM pg_catalog.pg_roles r WHERE r.rolname = current_user`)
	if err != nil {
		return about{}, err
	}
	a := about{version: row[0], superuser: row[3] == yes, anyRow: row[4] == yes, passwords: row[5] == yes, readsAll: row[6] == yes}
	seconds, err := strconv.ParseInt(row[2], 10, 64)
	if err == nil {
		a.now = time.Unix(seconds, 0).UTC()
		a.number, err = strconv.Atoi(row[1])
	}
	if err != nil || a.number < 80000 || a.number > 100_0000 {
		return about{}, job.Errorf(job.DumpFailed, "the server does not tell its version: %.40q", row[1])
	}
	return a, nil
}

// database is one that is to be dumped.
type database struct {
	name string
	// connect says that the role may connect to it.
	connect bool
}

// maintained are databases of providers that nobody but them can connect to. With
// "*" they are left out where the role cannot connect either: otherwise "*" could
// not be used there at all.
var maintained = []string{"rdsadmin", "cloudsqladmin", "azure_maintenance", "azure_sys"}

// databases lists all that take connections and are no templates, in order of their
// names as bytes.
func (in *inspector) databases() ([]database, error) {
	rows, err := in.ask(`SELECT datname, has_database_privilege(oid, 'CONNECT') FROM pg_catalog.pg_database
		WHERE datallowconn AND NOT datistemplate ORDER BY datname COLLATE "C"`)
	if err != nil {
		return nil, err
	}
	var list []database
	for _, row := range rows {
		d := database{name: row[0], connect: row[1] == yes}
		if !d.connect && slices.Contains(maintained, d.name) {
			continue
		}
		list = append(list, d)
	}
	return list, nil
}

// schemas tells which of the named schemas are there.
func (in *inspector) schemas(names []string) ([]string, error) {
	rows, err := in.ask(`SELECT nspname FROM pg_catalog.pg_namespace WHERE nspname = ANY ($1::text[])`, textArray(names))
	if err != nil {
		return nil, err
	}
	var found []string
	for _, row := range rows {
		found = append(found, row[0])
	}
	return found, nil
}

// textArray writes a list as PostgreSQL reads it.
func textArray(list []string) string {
	out := []byte{'{'}
	for i, s := range list {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, '"')
		for j := range len(s) {
			if s[j] == '"' || s[j] == '\\' {
				out = append(out, '\\')
			}
			out = append(out, s[j])
		}
		out = append(out, '"')
	}
	return string(append(out, '}'))
}
