package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"

	"xvault/internal/devenv"
)

// limitDump is what a database may take, of the time of its own tool in a pipe.
const limitDump = 1.10

// What a careful person types for a database. The secrets are in files.
const (
	postgresPipe = `PGPASSFILE="$1" pg_dump -Fc -Z0 -h 127.0.0.1 -p "$2" -U "$3" -d bench | zstd -3 -T2 -q | age -r "$4" > "$5.part"; sync "$5.part"; mv "$5.part" "$5"`
	mysqlPipe    = `mariadb-dump --defaults-file="$1" -h 127.0.0.1 -P "$2" -u "$3" --single-transaction --quick --routines --events --triggers --hex-blob bench | zstd -3 -T2 -q | age -r "$4" > "$5.part"; sync "$5.part"; mv "$5.part" "$5"`
)

// dumped is a database that is running, filled, and known to both contenders.
type dumped struct {
	kind, user, password string
	port                 int
	pipe                 string
	secret               string // the file that the pipe reads
	stop                 func() error
}

// rowsOfDatabase have 1 KiB or so each, half of it random.
const rowsOfDatabase = 1 << 20

func databaseCase(start func(context.Context, *lab) (*dumped, error)) func(context.Context, *lab) ([]row, error) {
	return func(ctx context.Context, l *lab) (_ []row, err error) {
		d, err := start(ctx, l)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, d.stop()) }()
		got, err := l.turns(ctx, 5, l.oursOf(d), l.pipeOf(d))
		if err != nil {
			return nil, err
		}
		ours, pipe := got["xvault"], got["pipe"]
		rows := []row{
			compare("time", "pipe", ours, pipe, wall).atMost(limitDump),
			compare("size of the artifact", "pipe", ours, pipe, size).inBytes(),
			compare("CPU time, without the server's", "pipe", ours, pipe, effort),
		}
		return append(rows, l.footprint(ours)...), nil
	}
}

func (l *lab) oursOf(d *dumped) contender {
	return contender{name: "xvault", run: func(ctx context.Context, dir string) (usage, error) {
		u, _, err := l.backup(ctx, order{
			Type: d.kind, Password: d.password, Recipient: l.receiver, Storage: dir,
			Config: map[string]any{"host": "127.0.0.1", "port": d.port, "username": d.user, "databases": []string{"bench"}},
		})
		return u, err
	}}
}

func (l *lab) pipeOf(d *dumped) contender {
	return contender{name: "pipe", run: func(ctx context.Context, dir string) (usage, error) {
		file := filepath.Join(dir, "artifact")
		u, err := l.measure(ctx, script(d.pipe, dir, d.secret, strconv.Itoa(d.port), d.user, l.receiver, file))
		if err != nil {
			return u, err
		}
		u.Size, err = fileSize(file)
		return u, err
	}}
}

func startPostgres(ctx context.Context, l *lab) (*dumped, error) {
	server, err := devenv.NewPostgres(ctx, devenv.PostgresConfig{Dir: filepath.Join(l.scratch, "postgres"), Extra: []string{"max_wal_size=8GB"}})
	if err != nil {
		return nil, err
	}
	d := &dumped{kind: "postgres", pipe: postgresPipe, secret: filepath.Join(l.scratch, "passfile"), stop: server.Stop}
	if err := d.readURL(server.URL("postgres")); err != nil {
		return nil, errors.Join(err, d.stop())
	}
	l.say("  filling a database")
	err = errors.Join(
		server.Exec(ctx, "postgres", "CREATE DATABASE bench"),
		server.Exec(ctx, "bench", fmt.Sprintf(`CREATE TABLE t AS SELECT i AS id, repeat(md5((i %% 1000)::text), 16) AS said,
			(SELECT string_agg(md5(i::text || ':' || j::text), '') FROM generate_series(1, 16) j) AS noise FROM generate_series(1, %d) i`, l.data.scaled(rowsOfDatabase)),
			"VACUUM ANALYZE t"),
		os.WriteFile(d.secret, fmt.Appendf(nil, "127.0.0.1:%d:*:%s:%s\n", d.port, d.user, d.password), 0o600))
	if err != nil {
		return nil, errors.Join(err, d.stop())
	}
	return d, nil
}

func (d *dumped) readURL(address string) error {
	u, err := url.Parse(address)
	if err != nil {
		return err
	}
	d.user = u.User.Username()
	d.password, _ = u.User.Password()
	d.port, err = strconv.Atoi(u.Port())
	return err
}

func startMariaDB(ctx context.Context, l *lab) (*dumped, error) {
	server, err := devenv.NewMariaDB(ctx, devenv.MariaDBConfig{Dir: filepath.Join(l.scratch, "mariadb"), NoTLS: true, Extra: []string{"--innodb-buffer-pool-size=512M"}})
	if err != nil {
		return nil, err
	}
	d := &dumped{
		kind: "mysql", user: server.User, password: server.Password.Reveal(), port: server.Port(), pipe: mysqlPipe,
		secret: filepath.Join(l.scratch, "client.cnf"), stop: server.Stop,
	}
	l.say("  filling a database")
	err = errors.Join(
		server.Exec(ctx, "", "CREATE DATABASE bench"),
		server.Exec(ctx, "bench", "CREATE TABLE t (id bigint PRIMARY KEY, said text NOT NULL, noise text NOT NULL)",
			fmt.Sprintf(`INSERT INTO t SELECT seq, repeat(md5(seq %% 1000), 16),
				concat(sha2(concat(seq, 'a'), 512), sha2(concat(seq, 'b'), 512), sha2(concat(seq, 'c'), 512), sha2(concat(seq, 'd'), 512)) FROM seq_1_to_%d`, l.data.scaled(rowsOfDatabase))),
		os.WriteFile(d.secret, fmt.Appendf(nil, "[client]\npassword=%s\n", d.password), 0o600))
	if err != nil {
		return nil, errors.Join(err, d.stop())
	}
	return d, nil
}
