package mysql

import (
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

func TestMadeTables(t *testing.T) {
	t.Parallel()
	dump := "-- CREATE TABLE `comment` (\nCREATE TABLE `WP_a` (\n  `CREATE TABLE` int,\nINSERT INTO `WP_a` VALUES ('CREATE TABLE `no` (\\nCREATE TABLE `no` (" + strings.Repeat("x", 3000) + "');\n" +
		"CREATE TABLE IF NOT EXISTS `odd``name` (\n\nCREATE TABLE `cut\nCREATE OR REPLACE TABLE `last` ("
	for _, r := range []io.Reader{strings.NewReader(dump), iotest.OneByteReader(strings.NewReader(dump)), iotest.DataErrReader(strings.NewReader(dump))} {
		m := &madeTables{r: r, names: map[string]bool{}}
		got, err := io.ReadAll(m)
		names := slices.Sorted(maps.Keys(m.names))
		if err != nil || string(got) != dump || strings.Join(names, " ") != "last odd`name wp_a" || !m.has("wp_A") || m.has("no") {
			t.Errorf("%v, %q", err, names)
		}
	}
	if !(*madeTables)(nil).has("any") {
		t.Error("a new database holds what the dump did not make")
	}
}
