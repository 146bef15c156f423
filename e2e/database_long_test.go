//go:build long

package e2e

import (
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"xvault/e2e/system"
	"xvault/internal/testenv"
)

// database is one on a real server, of one table whose rows take about a kilobyte,
// half of it hashes.
type database interface {
	// rows makes so many rows of the table, from a number on.
	rows(from, count int)
	// more copies them to behind another number.
	more(count, to int)
	kind() string
	// config is a source's; it logs in with the password of access.
	config() map[string]any
	access() string
	// content is all that there is in it, by hashes.
	content() []string
	// restored loads a dump into another database, and gives what is in that.
	restored(dump io.Reader) []string
}

// databases make one each.
var databases = map[string]func(t *testing.T) database{
	"postgres": func(t *testing.T) database {
		t.Helper()
		p := &postgresDatabase{t, testenv.Postgres(t)}
		testenv.ExecPostgres(t, p.url, "CREATE UNLOGGED TABLE big (id bigint PRIMARY KEY, said text NOT NULL, noise text NOT NULL)")
		return p
	},
	"mysql": func(t *testing.T) database {
		t.Helper()
		m := &mariaDatabase{testenv.NewMariaDB(t, testenv.MariaDBOptions{}), t, "", "a password", ""}
		m.name = m.Database()
		m.account = m.Account(m.password, "SELECT, SHOW VIEW, TRIGGER, EVENT ON "+m.name+".*", "SELECT ON mysql.proc")
		m.Do(m.name, "CREATE TABLE big (id bigint PRIMARY KEY, said text NOT NULL, noise text NOT NULL)")
		return m
	},
}

type postgresDatabase struct {
	t   *testing.T
	url string
}

func (p *postgresDatabase) rows(from, count int) {
	p.t.Helper()
	testenv.ExecPostgres(p.t, p.url, fmt.Sprintf(`INSERT INTO big SELECT i, repeat(md5((i %% 1000)::text), 16),
		(SELECT string_agg(md5(i::text || ':' || j::text), '') FROM generate_series(1, 16) j) FROM generate_series(%d, %d) i`, from, from+count-1))
}

func (p *postgresDatabase) more(count, to int) {
	p.t.Helper()
	testenv.ExecPostgres(p.t, p.url, fmt.Sprintf(`INSERT INTO big SELECT id + %d, said, noise FROM big WHERE id < %d`, to, count))
}

func (p *postgresDatabase) kind() string { return "postgres" }

func (p *postgresDatabase) access() string {
	p.t.Helper()
	password, _ := p.parsed().User.Password()
	return password
}

func (p *postgresDatabase) parsed() *url.URL {
	p.t.Helper()
	u, err := url.Parse(p.url)
	must(p.t, err)
	return u
}

func (p *postgresDatabase) config() map[string]any {
	p.t.Helper()
	u := p.parsed()
	port, err := strconv.Atoi(u.Port())
	must(p.t, err)
	return map[string]any{"host": u.Hostname(), "port": port, "username": u.User.Username(), "databases": []string{strings.TrimPrefix(u.Path, "/")}}
}

func (p *postgresDatabase) content() []string {
	p.t.Helper()
	return testenv.FingerprintPostgres(p.t, p.url)
}

func (p *postgresDatabase) restored(dump io.Reader) []string {
	p.t.Helper()
	other := testenv.Postgres(p.t)
	testenv.LoadPostgresFrom(p.t, other, dump)
	return testenv.FingerprintPostgres(p.t, other)
}

type mariaDatabase struct {
	*testenv.MariaDBServer
	t                       *testing.T
	name, password, account string
}

func (m *mariaDatabase) rows(from, count int) {
	m.t.Helper()
	m.Do(m.name, fmt.Sprintf(`INSERT INTO big SELECT seq, repeat(md5(seq %% 1000), 16),
		concat(sha2(concat(seq, 'a'), 512), sha2(concat(seq, 'b'), 512), sha2(concat(seq, 'c'), 512), sha2(concat(seq, 'd'), 512)) FROM seq_%d_to_%d`, from, from+count-1))
}

func (m *mariaDatabase) more(count, to int) {
	m.t.Helper()
	m.Do(m.name, fmt.Sprintf("INSERT INTO big SELECT id + %d, said, noise FROM big WHERE id < %d", to, count))
}

func (m *mariaDatabase) kind() string { return "mysql" }

func (m *mariaDatabase) access() string { return m.password }

func (m *mariaDatabase) config() map[string]any {
	m.t.Helper()
	return map[string]any{"host": "127.0.0.1", "port": m.Port(), "username": m.account, "databases": []string{m.name}}
}

func (m *mariaDatabase) content() []string {
	m.t.Helper()
	return m.hashes(m.name)
}

// hashes has the server hash the rows: they are too many to be fetched.
func (m *mariaDatabase) hashes(name string) []string {
	m.t.Helper()
	const row = "MD5(CONCAT_WS('|', id, said, noise))"
	all := m.Query(name, "SELECT COUNT(*), BIT_XOR(CAST(CONV(LEFT("+row+", 16), 16, 10) AS UNSIGNED)), BIT_XOR(CAST(CONV(RIGHT("+row+", 16), 16, 10) AS UNSIGNED)), SUM(CRC32(noise)) FROM big")
	return append(all[0], m.Query(name, "SHOW CREATE TABLE big")[0]...)
}

func (m *mariaDatabase) restored(dump io.Reader) []string {
	m.t.Helper()
	other := m.Database()
	must(m.t, m.LoadFrom(other, dump))
	return m.hashes(other)
}

// rowsOfPiece take about 64 MiB: what one statement makes.
const rowsOfPiece = 64 << 10

// fill makes a database of so many bytes: some of them new, the rest copies that are
// too far from each other to be found.
func fill(d database, size int64) {
	const fresh = 4 * rowsOfPiece
	for from := 0; from < fresh; from += rowsOfPiece {
		d.rows(from, rowsOfPiece)
	}
	for to := fresh; int64(to) < size>>10; to += rowsOfPiece {
		d.more(rowsOfPiece, to)
	}
}

// backUp makes a backup of a database with the released binary, and gives the snapshot
// and the key. It tells the peaks of memory, which the worker's must not exceed.
func backUp(t *testing.T, d database) (system.Snapshot, string) {
	t.Helper()
	l := system.Start(t, system.Options{Flavor: system.Released})
	tenant := l.API.CreateTenant(t, "a tenant")
	identity := l.API.ExportKey(t, tenant.ID)
	source := system.Post[system.Object](t, l.API, "/api/v1/sources", map[string]any{
		"tenant_id": tenant.ID, "type": d.kind(), "name": "a database", "config": d.config(),
		"credential_id": l.API.CreateCredential(t, tenant.ID, system.Password(d.access())),
	})
	began := time.Now()
	programs := map[string]int64{}
	j := l.WaitJobUntil(l.API.StartBackup(t, source.ID).ID, 30*time.Minute, "ended", func(j system.Job) bool {
		l.Workers[0].PeaksOfPrograms(t, programs)
		return j.Ended()
	})
	if j.Status != "completed" {
		t.Fatalf("not completed: %s", j)
	}
	snap := l.API.Snapshot(t, j.SnapshotID)
	peak := l.Workers[0].PeakMemory(t)
	t.Logf("%v; peak memory of the worker %d MiB, of its programs %v KiB", time.Since(began).Round(time.Second), peak>>20, programs)
	if peak > memoryLimit {
		t.Errorf("the worker needed %d MiB", peak>>20)
	}
	return snap, identity
}

// A database streams through the worker, whatever its size.
//
//nolint:tparallel // one at a time: each measures the machine alone
func TestMemoryOfDatabases(t *testing.T) {
	t.Parallel()
	for name, start := range databases {
		t.Run(name, func(t *testing.T) {
			d := start(t)
			fill(d, large)
			if snap, _ := backUp(t, d); snap.Status != "completed" {
				t.Errorf("the snapshot is %s", snap.Status)
			}
		})
	}
}

// A database of 1 GiB, of which the stock tools make the same database again.
//
//nolint:tparallel // one at a time, for the room that they take
func TestLargeDatabases(t *testing.T) {
	t.Parallel()
	for name, start := range databases {
		t.Run(name, func(t *testing.T) {
			d := start(t)
			fill(d, 1<<30)
			want := d.content()
			snap, identity := backUp(t, d)
			dir := system.StockRestore(t, filepath.Join(snap.LocalPath, system.Artifact), identity)
			parts, err := filepath.Glob(filepath.Join(dir, d.kind(), "*.part-*"))
			must(t, err)
			if len(parts) < 60 {
				t.Fatalf("the dump has %d parts", len(parts))
			}
			slices.Sort(parts)
			readers := make([]io.Reader, len(parts))
			for i, path := range parts {
				f, err := os.Open(path)
				must(t, err)
				defer func() { must(t, f.Close()) }()
				readers[i] = f
			}
			if got := d.restored(io.MultiReader(readers...)); !slices.Equal(got, want) {
				t.Errorf("what was restored is\n%q\nwant\n%q", got, want)
			}
		})
	}
}
