package mysql

import (
	"bufio"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"xvault/connectors"
	"xvault/internal/job"
	"xvault/internal/testenv"
)

func view(as string) string { return "/*!50001 VIEW `v` AS select " + as + " */;\n" }

func columns(lines string) string { return "CREATE TABLE `a` (\n" + lines }

// Names of the database are found where they are that, and nowhere else.
func TestNamesAreQualified(t *testing.T) {
	t.Parallel()
	for in, out := range map[string]string{
		columns("  `x` int DEFAULT nextval(`old`.`s`),\n) ENGINE=InnoDB;\n"):                       columns("  `x` int DEFAULT nextval(`c`.`s`),\n) ENGINE=InnoDB;\n"),
		columns("  `x` int DEFAULT concat(lastval(`old`.`s`),setval(`old`.`s`,1)),\n"):             columns("  `x` int DEFAULT concat(lastval(`c`.`s`),setval(`c`.`s`,1)),\n"),
		columns("  `x` int DEFAULT 'nextval(`old`.`s`)' COMMENT 'it\\'s '' nextval(`old`.`s`',\n"): "",
		columns("  `nextval(``old``.``s``)` int,\n"):                                               "",
		columns("  `x` int DEFAULT nextval(`other`.`s`),\n"):                                       "",
		columns(") ENGINE=InnoDB;\n  `x` int DEFAULT nextval(`old`.`s`),\n"):                       "",
		"DELIMITER ;;\n" + columns("  `x` int DEFAULT nextval(`old`.`s`);;\nDELIMITER ;\n"):        "",
		"DELIMITER ;;\nALTER DATABASE `old` CHARACTER SET x ;;\n":                                  "DELIMITER ;;\nALTER DATABASE `c` CHARACTER SET x ;;\n",

		view("`old`.`t`.`x` AS `old` from (`old`.`t` join `other`.`o`)"): view("`c`.`t`.`x` AS `old` from (`c`.`t` join `other`.`o`)"),
		view("`old`.`x` AS `x` from `old`"):                              "",
		view("extract(year from `old`.`x`) from ((`old`.`t` `old` left join (`old`.`u` join `o`.`o`) on(trim(both 'x' from `old`.`x`) = `old`.`f`(`old`.`x`))))"): view("extract(year from `old`.`x`) from ((`c`.`t` `old` left join (`c`.`u` join `o`.`o`) on(trim(both 'x' from `old`.`x`) = `c`.`f`(`old`.`x`))))"),
		view("(select max(`old`.`x`) from `old`.`t`),'from `old`.`t`' where exists(select 1 from `old`.`v` limit 1)"):                                             view("(select max(`old`.`x`) from `c`.`t`),'from `old`.`t`' where exists(select 1 from `c`.`v` limit 1)"),
		view("''''from `old`.`t`"):               view("''''from `c`.`t`"),
		view("'''from `old`.`t`"):                "",
		view("nextval(`old`.`s`),`a`.`old`.`b`"): view("nextval(`c`.`s`),`a`.`old`.`b`"),
		view("`old`.`t`.`x"):                     view("`c`.`t`.`x"),
		view("`old`.`t`.`x`,'\\"):                view("`c`.`t`.`x`,'\\"),
		view("1) from `old`.`t`"):                view("1) from `c`.`t`"),
		"INSERT INTO `t` VALUES\n(1,'/*!50001 VIEW `v` AS select `old`.`t`.`x`');\n": "",
	} {
		if out == "" {
			out = in
		}
		from := "old"
		for range 2 {
			got, err := io.ReadAll(iotest.HalfReader(renamed(bufio.NewReaderSize(iotest.OneByteReader(strings.NewReader(in)), 4096), from, "c")))
			if err != nil || string(got) != out {
				t.Errorf("%s\nis  %s\nnot %s, %v", in, got, out, err)
			}
			from, in, out = "o`d", strings.ReplaceAll(in, "`old`", "`o``d`"), strings.ReplaceAll(out, "`old`", "`o``d`")
		}
	}
	long := view(strings.Repeat("1+", maxRenamed))
	if _, err := io.Copy(io.Discard, renamed(bufio.NewReader(strings.NewReader(long)), "old", "c")); job.CodeOf(err) != job.ConfigInvalid {
		t.Errorf("a view that is too long: %v", err)
	}
}

// What a dump names with its database is the new one's after a restore under another name:
// where the old one stands it is left alone, and where it is gone nothing misses it.
func TestRestoreOfNamesOfTheDatabase(t *testing.T) {
	t.Parallel()
	m := testenv.MariaDB(t)
	name, other := m.Database(), m.Database()
	m.Do(other, "CREATE TABLE o (id INT PRIMARY KEY, n INT)", "INSERT INTO o VALUES (8, 80), (11, 110)")
	m.Do(name, "CREATE SEQUENCE numbers START WITH 5 INCREMENT BY 3 NOCACHE",
		"CREATE TABLE a (id BIGINT NOT NULL DEFAULT NEXTVAL(numbers) PRIMARY KEY, b VARCHAR(50) DEFAULT (CONCAT('`"+name+"`.`x` ', LASTVAL(numbers))) COMMENT 'nextval(`"+name+"`.`numbers`)', c TEXT)",
		"CREATE TABLE "+name+" (id INT PRIMARY KEY, at DATETIME)", "INSERT INTO "+name+" VALUES (8, '2031-02-03')",
		"INSERT INTO a (c) VALUES ('nextval(`"+name+"`.`numbers`)\n  `x` DEFAULT nextval(`"+name+"`.`numbers`)'), ('')",
		"CREATE FUNCTION twice(n INT) RETURNS INT DETERMINISTIC RETURN n * 2",
		"CREATE VIEW with_another AS SELECT a.id, twice(o.n) AS t, EXTRACT(YEAR FROM "+name+".at) AS y, 'from `"+name+"`.`a`' AS said FROM a JOIN "+other+".o ON o.id = a.id LEFT JOIN "+name+" ON "+name+".id = a.id",
		"CREATE VIEW of_a_view AS SELECT MAX(w.id) AS id FROM with_another w JOIN "+other+".o WHERE EXISTS (SELECT 1 FROM a WHERE a.id = o.id)")
	if rows := m.Query(name, "SELECT * FROM with_another"); len(rows) != 1 || rows[0][2] != "2031" {
		t.Fatalf("%q: this proves nothing", rows)
	}
	l := newLab(t, m, append(writer(name), "SELECT ON "+other+".*"), name)
	dump, want := l.mustRead()[member(name)], rowsAndNames(m, name, other)
	for _, gone := range []bool{false, true} {
		into := name + map[bool]string{false: "_beside", true: "_alone"}[gone]
		t.Cleanup(func() { m.Do("", "DROP DATABASE IF EXISTS "+into) })
		if gone {
			m.Do("", "DROP DATABASE "+name)
		}
		report, err := l.restore(connectors.TargetOptions{Folder: "/" + into}, one(member(name), dump))
		if err != nil || report.Files != 1 {
			t.Fatalf("%+v, %v", report, err)
		}
		got := rowsAndNames(m, into, other)
		for what, text := range got {
			got[what] = strings.ReplaceAll(text, quoteName(into), quoteName(name))
		}
		m.SameContent(want, got)
		m.Do(into, "INSERT INTO a (c) VALUES ('more')", "DELETE FROM "+name)
		if got := m.Query(into, "SELECT id FROM a ORDER BY id"); len(got) != 3 || got[2][0] != "11" {
			t.Errorf("the sequence goes on with %q", got)
		}
		if got := m.Query(into, "SELECT y FROM with_another"); len(got) != 2 || got[0][0] != "NULL" {
			t.Errorf("a view looks into another database: %q", got)
		}
		if !gone {
			m.SameContent(want, rowsAndNames(m, name, other))
		}
	}
}

// rowsAndNames has hashes of a database's rows, and definitions as they are seen from
// another database: with all names in them.
func rowsAndNames(m *testenv.MariaDBServer, name, other string) map[string]string {
	all := map[string]string{}
	for what, content := range m.Content(name) {
		if table, rows := strings.CutPrefix(what, "rows of "); rows {
			all[what] = content
			all[table] = m.Query(other, "SHOW CREATE TABLE "+quoteName(name)+"."+quoteName(table))[0][1]
		}
	}
	return all
}
