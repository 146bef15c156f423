//go:build long

package mysql

import (
	"io"
	"runtime"
	"testing"
	"time"

	"xvault/connectors"
	"xvault/internal/testenv"
)

// A database of 1 GiB streams through: nothing of it is gathered in memory. It runs
// alone, for the heap is that of all tests that run.
func TestOneGibibyte(t *testing.T) {
	m := testenv.NewMariaDB(t, testenv.MariaDBOptions{})
	name := m.Database()
	m.Do(name, "CREATE TABLE big (id INT PRIMARY KEY, t MEDIUMTEXT)")
	for range 4 {
		m.Do(name, "INSERT INTO big SELECT (SELECT coalesce(max(id), 0) FROM big b) + seq, REPEAT(MD5(seq), 500) FROM seq_1_to_17000")
	}
	l := newLab(t, m, fullGrants(name), name)
	var peak, total uint64
	began := time.Now()
	err := l.source().Read(t.Context(), func(item connectors.Item) error {
		buf := make([]byte, 1<<20)
		for {
			n, err := item.Body.Read(buf)
			total += uint64(n)
			if total>>26 != (total-uint64(n))>>26 {
				var s runtime.MemStats
				runtime.ReadMemStats(&s)
				peak = max(peak, s.HeapInuse)
			}
			if err == io.EOF {
				return nil
			}
			if err != nil {
				return err
			}
		}
	})
	t.Logf("%d MiB in %v, heap %d MiB", total>>20, time.Since(began).Round(time.Millisecond), peak>>20)
	if err != nil || total < 1<<30 {
		t.Errorf("%d bytes, %v", total, err)
	}
	if peak > 64<<20 {
		t.Errorf("the heap grew to %d MiB", peak>>20)
	}
}
