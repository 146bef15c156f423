//go:build long

package wordpress

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"xvault/connectors"
	"xvault/internal/entry"
	"xvault/internal/testenv"
)

// A server that hangs up on those that do not read for a second waits for a dump whose
// rest is taken later, and for one between whose tables nothing happens.
func TestServerWaitsForTheDump(t *testing.T) {
	t.Parallel()
	l := newLabOn(t, testenv.NewMariaDB(t, testenv.MariaDBOptions{Extra: []string{"--net-write-timeout=1", "--max-allowed-packet=64M"}}), testenv.SSHOptions{})
	l.options.Held = 1
	// More than sockets and windows take on the way.
	l.db.Do(l.name, "CREATE TABLE zz_big (id INT PRIMARY KEY, t LONGTEXT)", "INSERT INTO zz_big SELECT seq, REPEAT(MD5(seq), 30000) FROM seq_1_to_50")
	waited := false
	members, _, err := l.read(func(item connectors.Item) {
		if !waited && item.Kind == entry.File {
			waited = true
			time.Sleep(5 * time.Second) // no state is waited for: the time itself is what matters
		}
	})
	if dump := members["mysql/"+l.name+".sql"]; err != nil || len(dump) < 50*30000*32 || !strings.Contains(dump[len(dump)-100:], "-- Dump completed") {
		t.Errorf("%v, %d bytes\n%s", err, len(dump), l.log.String())
	}
}

// Nor does one that hangs up on those that ask for nothing for a second.
func TestServerWaitsForTheNextTable(t *testing.T) {
	t.Parallel()
	l := newLabOn(t, testenv.NewMariaDB(t, testenv.MariaDBOptions{Extra: []string{"--wait-timeout=1"}}), testenv.SSHOptions{})
	l.options.Held = 1
	for i := range 40 {
		l.db.Do(l.name, fmt.Sprintf("CREATE TABLE zz_%d (id INT PRIMARY KEY, t LONGTEXT)", i), fmt.Sprintf("INSERT INTO zz_%d SELECT seq, REPEAT(MD5(seq), 3000) FROM seq_1_to_3", i))
	}
	waited := false
	members, _, err := l.read(func(item connectors.Item) {
		if !waited && item.Kind == entry.File {
			waited = true
			time.Sleep(4 * time.Second) // no state is waited for: the time itself is what matters
		}
	})
	if dump := members["mysql/"+l.name+".sql"]; err != nil || len(dump) < 40*3*3000*32 || !strings.Contains(dump[len(dump)-100:], "-- Dump completed") {
		t.Errorf("%v, %d bytes\n%s", err, len(dump), l.log.String())
	}
}
