package mysql

import (
	"strings"
	"testing"

	"xvault/internal/testenv"
)

// What is dumped loads into another database with the stock client, and is the same
// there, row for row.
func TestDumpIsTheDatabase(t *testing.T) {
	t.Parallel()
	m := testenv.MariaDB(t)
	name, copied := "shop & Cö 数据/100%_x", m.Database()
	m.DatabaseNamed(name)
	m.Do("", "ALTER DATABASE "+testenv.QuoteName(name)+" CHARACTER SET utf8mb4 COLLATE utf8mb4_swedish_ci", "ALTER DATABASE "+copied+" CHARACTER SET utf8mb4 COLLATE utf8mb4_swedish_ci")
	m.Plant(name, 3000)
	want := m.Content(name)
	l := newLab(t, m, fullGrants(name), name)
	dumps := l.mustRead()
	dump := dumps["mysql/shop%20%26%20Cö%20数据%2F100%25_x.sql"]
	if len(dumps) != 1 || dump == "" {
		t.Fatalf("members: %v", len(dumps))
	}
	if err := m.Load(copied, dump); err != nil {
		t.Fatal(err)
	}
	m.SameContent(want, m.Content(copied))
	if first, _, _ := strings.Cut(dump, "\n"); !strings.Contains(first, "CHARACTER SET utf8mb4 COLLATE utf8mb4_swedish_ci") {
		t.Errorf("the first line is %q", first)
	}
}

// A table whose column counts by a sequence loads with its rows. Such a default names its
// database, so this one comes back under its own name.
func TestDumpOfNumbered(t *testing.T) {
	t.Parallel()
	m := testenv.MariaDB(t)
	name := m.Database()
	m.Do(name, "CREATE SEQUENCE numbers START WITH 7 INCREMENT BY 3",
		"CREATE TABLE numbered (n BIGINT NOT NULL DEFAULT nextval(numbers), what TEXT)", "INSERT INTO numbered (what) VALUES ('one'), ('two')")
	want := m.Content(name)
	dumps := newLab(t, m, fullGrants(name), name).mustRead()
	if result, err := drilled(t, Options{}, dumps); err != nil || result.Databases[0].Rows != 2 {
		t.Errorf("%v\n%+v", err, result)
	}
	m.Do("", "DROP DATABASE "+testenv.QuoteName(name), "CREATE DATABASE "+testenv.QuoteName(name))
	if err := m.Load(name, dumps["mysql/"+name+".sql"]); err != nil {
		t.Fatal(err)
	}
	m.SameContent(want, m.Content(name))
}
