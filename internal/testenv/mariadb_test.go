package testenv_test

import (
	"testing"

	"xvault/internal/testenv"
)

func TestMariaDBServes(t *testing.T) {
	t.Parallel()
	m := testenv.MariaDB(t)
	name := m.Database()
	m.Do(name, "CREATE TABLE a (b INT)", "INSERT INTO a VALUES (7)")
	if rows := m.Query(name, "SELECT b, NULL FROM a"); len(rows) != 1 || rows[0][0] != "7" || rows[0][1] != "NULL" {
		t.Errorf("%q", rows)
	}
	if rows := m.Query("", "SHOW VARIABLES LIKE 'have_ssl'"); rows[0][1] != "YES" {
		t.Errorf("TLS: %q", rows)
	}
}

func TestMariaDBSurvivesItsCrash(t *testing.T) {
	t.Parallel()
	m := testenv.NewMariaDB(t, testenv.MariaDBOptions{NoTLS: true})
	name := m.Database()
	m.Do(name, "CREATE TABLE a (b INT)", "INSERT INTO a VALUES (7)")
	m.Crash()
	m.Restart()
	if rows := m.Query(name, "SELECT count(*) FROM a"); len(rows) != 1 {
		t.Errorf("%q", rows)
	}
}
