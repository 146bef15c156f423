package mysql

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"xvault/connectors"
	"xvault/internal/job"
	"xvault/internal/testenv"
)

func view(as string) string { return "/*!50001 VIEW `v` AS select " + as + " */;\n" }

func trigger(header string) string {
	return "DELIMITER ;;\n/*!50003 CREATE*/ /*!50017 DEFINER=`root`@`localhost`*/ /*!50003 " + header + " for each row insert into old.u values (1) \n*/;;\nDELIMITER ;\n"
}

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
		view("1 AS `case\n``when`,`old`.`t`.`x`,'\n'") + view("1 from `old`.`t`"):    view("1 AS `case\n``when`,`c`.`t`.`x`,'\n'") + view("1 from `c`.`t`"),
		view("straight_join `old`.`x` from `old`.`t` `old` straight_join `old`.`u`"): view("straight_join `old`.`x` from `c`.`t` `old` straight_join `c`.`u`"),
		columns("  `x\n``y\n` int,\n  `z` int DEFAULT nextval(`old`.`s`),\n"):        columns("  `x\n``y\n` int,\n  `z` int DEFAULT nextval(`c`.`s`),\n"),
		"CREATE TABLE `a\nb` (\n  `z` int DEFAULT nextval(`old`.`s`),\n":             "CREATE TABLE `a\nb` (\n  `z` int DEFAULT nextval(`c`.`s`),\n",

		trigger("trigger `t` before insert on u"):                                                                                                          "",
		trigger("TRIGGER `old`.`t` before insert on u"):                                                                                                    trigger("TRIGGER `t` before insert on u"),
		trigger("trigger t before insert on `old`.`u``v`"):                                                                                                 trigger("trigger t before insert on `u``v`"),
		trigger("Trigger If Not Exists `old` . t\nbefore update\non\t`old`.u"):                                                                             trigger("Trigger If Not Exists   `t`\nbefore update\non\t`u`"),
		trigger("trigger /* trigger `old`.x */ `old`/*'*/.# it's\n\"t\"\n/*! before */ insert -- on `old`\non u"):                                          trigger("trigger /* trigger `old`.x */ /*'*/# it's\n\"t\"\n/*! before */ insert -- on `old`\non u"),
		trigger("trigger t before update of `on`, old or insert on `old`.`u`"):                                                                             trigger("trigger t before update of `on`, old or insert on `u`"),
		trigger("procedure `old`.`trigger`() select 'trigger `old`.`t` on'"):                                                                               "",
		"DELIMITER ;;\n/*!50003 SET x */;;\n/*!50003 CREATE trigger `old`.t after delete on u for each row x ;;\nDELIMITER ;\n" + view("1 from `old`.`t`"): "DELIMITER ;;\n/*!50003 SET x */;;\n/*!50003 CREATE trigger `t` after delete on u for each row x ;;\nDELIMITER ;\n" + view("1 from `c`.`t`"),
		"DELIMITER ;;\nCREATE PROCEDURE p()\nselect '\nCREATE trigger `old`.t before insert on u for each row' ;;\nDELIMITER ;\n":                          "",

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
	strange := "DELIMITER ;;\nCREATE trigger what `o`.`n` ;;\nDELIMITER ;\n"
	if got, err := io.ReadAll(renamed(bufio.NewReader(strings.NewReader(strange+view("1 from `old`.`t`"))), "old", "c")); err != nil || string(got) != strange+view("1 from `c`.`t`") {
		t.Errorf("a strange trigger that does not name the database is %s, %v", got, err)
	}
	for _, header := range []string{"trigger what", "trigger old.t.x before insert on u", "trigger t before insert on `old", "trigger t before insert /*", "trigger t" + strings.Repeat(" ", maxRenamed) + "on u"} {
		if _, err := io.Copy(io.Discard, renamed(bufio.NewReader(strings.NewReader(trigger(header))), "OLD", "c")); job.CodeOf(err) != job.ConfigInvalid {
			t.Errorf("%.100s: %v", header, err)
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

// A trigger comes back in the new database however its author wrote the old one's name,
// and what has ends of lines in its name with it; those of the old one stay as they are.
func TestRestoreOfNamesThatPeopleWrote(t *testing.T) {
	t.Parallel()
	m := testenv.MariaDB(t)
	name, other := m.Database(), m.Database()
	m.Do(other, "CREATE TABLE o (id INT)", "INSERT INTO o VALUES (3)")
	m.Do(name, "CREATE SEQUENCE numbers", "CREATE TABLE `order` (id INT, n INT, `two\nlines` INT DEFAULT 2, three BIGINT DEFAULT NEXTVAL(numbers))", "CREATE TABLE log (what TEXT)",
		"CREATE TABLE "+name+" (id INT)", "INSERT INTO "+name+" VALUES (5)",
		"CREATE TRIGGER `"+name+"`.`quoted` BEFORE INSERT ON `order` FOR EACH ROW SET NEW.n = 7",
		"create trigger "+name+".before\n before update on\n"+name+".order for each row begin\n insert into log values ('"+name+".order'); end",
		"CREATE TRIGGER after_all AFTER DELETE ON /* of "+name+" */ "+name+" . `order` FOR EACH ROW INSERT INTO log VALUES ('deleted')",
		"CREATE PROCEDURE "+name+".p() SELECT '"+name+".log'", "CREATE EVENT "+name+".e ON SCHEDULE EVERY 1 DAY DISABLE DO DO 1",
		"CREATE VIEW two_lines AS SELECT case when x.id > 1\n then 'a\n' else `order`.n end, (SELECT MAX(o.id) +\n 1 FROM "+other+".o) FROM `order` JOIN "+name+".log x2 RIGHT JOIN "+name+" x ON TRUE",
		"CREATE VIEW straight AS SELECT STRAIGHT_JOIN "+name+".id AS a, o.id AS b FROM "+name+" JOIN "+other+".o")
	l := newLab(t, m, append(writer(name), "SELECT ON "+other+".*"), name)
	dump := l.mustRead()[member(name)]
	triggers := func(of string) string {
		list := m.Query("", "SELECT TRIGGER_NAME, EVENT_MANIPULATION, EVENT_OBJECT_TABLE, ACTION_STATEMENT FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = '"+of+"' ORDER BY 1")
		return fmt.Sprintf("%q", list)
	}
	want, names := triggers(name), rowsAndNames(m, name, other)
	for _, state := range []string{"beside", "without", "alone"} {
		into := name + "_" + state
		t.Cleanup(func() { m.Do("", "DROP DATABASE IF EXISTS "+into) })
		switch state {
		case "without": // its triggers, which would be made there again
			m.Do(name, "DROP TRIGGER quoted", "DROP TRIGGER `before`", "DROP TRIGGER after_all")
		case "alone":
			m.Do("", "DROP DATABASE "+name)
		}
		before := triggers(name)
		if report, err := l.restore(connectors.TargetOptions{Folder: "/" + into}, one(member(name), dump)); err != nil || report.Files != 1 {
			t.Fatalf("%s: %+v, %v", state, report, err)
		}
		if now := triggers(name); now != before {
			t.Errorf("%s: the old database has the triggers %s, had %s", state, now, before)
		}
		if got := triggers(into); got != want {
			t.Errorf("%s: there are %s, want %s", state, got, want)
		}
		got := rowsAndNames(m, into, other)
		for what, text := range got {
			got[what] = strings.ReplaceAll(text, quoteName(into), quoteName(name))
		}
		m.SameContent(names, got)
		m.Do(into, "INSERT INTO `order` (id) VALUES (1)", "UPDATE `order` SET id = 2", "DELETE FROM `order` WHERE n = 7 AND three = 1 AND `two\nlines` = 2")
		if got := m.Query(into, "SELECT what FROM log"); len(got) != 2 || got[0][0] != name+".order" || got[1][0] != "deleted" {
			t.Errorf("%s: the triggers wrote %q", state, got)
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
