package postgres

import (
	"strconv"
)

// relation is a table or a sequence whose content is dumped.
type relation struct {
	schema, name string
	readable     bool
	rowSecurity  bool // it holds for the role
}

// What belongs to an extension is made by CREATE EXTENSION, and not dumped.
const ownRelations = `FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
	WHERE n.nspname <> 'information_schema' AND n.nspname !~ '^pg_' AND c.relpersistence <> 't'
	AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')`

// unreadable lists what is dumped with content, or locked for that, and cannot be
// read in full.
func (in *inspector) unreadable() ([]relation, error) {
	rows, err := in.ask(`SELECT * FROM (SELECT n.nspname, c.relname,
				has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT') AS readable,
				c.relrowsecurity AND row_security_active(c.oid) AS hidden
			` + ownRelations + ` AND c.relkind IN ('r', 'p', 'S')) r
		WHERE NOT readable OR hidden ORDER BY 1, 2`)
	if err != nil {
		return nil, err
	}
	list := make([]relation, len(rows))
	for i, row := range rows {
		list[i] = relation{schema: row[0], name: row[1], readable: row[2] == yes, rowSecurity: row[3] == yes}
	}
	return list, nil
}

// writable names a table that the role can change, if there is one.
func (in *inspector) writable() (string, error) {
	rows, err := in.ask(`SELECT format('%I.%I', n.nspname, c.relname) ` + ownRelations + ` AND c.relkind IN ('r', 'p')
		AND has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE') ORDER BY 1 LIMIT 1`)
	if err != nil || len(rows) == 0 {
		return "", err
	}
	return rows[0][0], nil
}

// unreadableLargeObjects counts those that neither belong to the role nor were
// granted to it.
func (in *inspector) unreadableLargeObjects() (int, error) {
	row, err := in.one(1, `SELECT count(*) FROM pg_catalog.pg_largeobject_metadata m
		WHERE current_setting('lo_compat_privileges') <> 'on' AND NOT pg_has_role(m.lomowner, 'USAGE')
		AND NOT EXISTS (SELECT FROM aclexplode(m.lomacl) a WHERE a.privilege_type = 'SELECT' AND (a.grantee = 0 OR pg_has_role(a.grantee, 'USAGE')))`)
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(row[0])
	if err != nil {
		return 0, nil //nolint:nilerr // a server that answers nonsense is found out by the dump
	}
	return n, nil
}
