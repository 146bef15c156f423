package mysql

import (
	"bufio"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"xvault/connectors"
	"xvault/internal/testenv"
)

func TestDumpIsRenamed(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 10_000)
	line := "ALTER DATABASE `a``b` CHARACTER SET latin1 COLLATE latin1_swedish_ci ;\n"
	want := "ALTER DATABASE `c` CHARACTER SET latin1 COLLATE latin1_swedish_ci ;\n"
	for in, out := range map[string]string{
		"": "", "x": "x", line: want, "-- " + line: "-- " + line, long + line: long + line, long + "\n" + line + long: long + "\n" + want + long,
		line + line: want + want, line[:20]: line[:20], "ALTER DATABASE `a``bc` CHARACTER SET x": "ALTER DATABASE `a``bc` CHARACTER SET x", "\n\n" + line: "\n\n" + want,
	} {
		for _, r := range []io.Reader{strings.NewReader(in), iotest.OneByteReader(strings.NewReader(in)), iotest.DataErrReader(strings.NewReader(in))} {
			got, err := io.ReadAll(iotest.HalfReader(renamed(bufio.NewReaderSize(r, 4096), "a`b", "c")))
			if err != nil || string(got) != out {
				t.Errorf("%.100q is %.100q, %v", in, got, err)
			}
		}
	}
	broken := errors.New("broken")
	if _, err := io.ReadAll(renamed(bufio.NewReader(io.MultiReader(strings.NewReader(line), iotest.ErrReader(broken))), "a`b", "c")); !errors.Is(err, broken) {
		t.Error(err)
	}
}

// What was made under another collation comes back with it, in a copy, while the
// original is left alone, or gone.
func TestRestoreOfAnotherCollation(t *testing.T) {
	t.Parallel()
	m := testenv.MariaDB(t)
	name := m.Database()
	m.Do(name, "ALTER DATABASE "+name+" CHARACTER SET latin1 COLLATE latin1_german1_ci", "CREATE TABLE a (b INT)", "CREATE PROCEDURE p() SELECT 1",
		"CREATE TRIGGER t BEFORE INSERT ON a FOR EACH ROW SET NEW.b = 7", "CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO DO 1",
		"ALTER DATABASE "+name+" CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
	l := newLab(t, m, writer(name), name)
	dump := l.mustRead()[member(name)]
	if !strings.Contains(dump, "\nALTER DATABASE `"+name+"` CHARACTER SET ") {
		t.Fatal("the dump names no database: this proves nothing")
	}
	question := func(of string) [][]string {
		return m.Query("", "SELECT ROUTINE_NAME, DATABASE_COLLATION FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = '"+of+"' UNION ALL "+
			"SELECT TRIGGER_NAME, DATABASE_COLLATION FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = '"+of+"'")
	}
	want := question(name)
	m.Do("", "DROP DATABASE "+name)
	report, err := l.restore(connectors.TargetOptions{}, one(member(name), dump))
	if err != nil || report.Files != 1 {
		t.Fatalf("%+v, %v", report, err)
	}
	restored := name + "_restored_456789ab"
	t.Cleanup(func() { m.Do("", "DROP DATABASE IF EXISTS "+restored) })
	got := question(restored)
	if len(want) != 2 || len(got) != 2 || got[0][1] != "latin1_german1_ci" || got[1][1] != "latin1_german1_ci" {
		t.Errorf("%q, want %q", got, want)
	}
}
