package mysql

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"xvault/connectors"
	"xvault/connectors/dumptool"
	"xvault/connectors/scratch"
	"xvault/internal/job"
	"xvault/internal/secret"
)

const (
	// emptyServer is what a server without databases takes, with its log, in bytes.
	emptyServer = 256 << 20
	// startPatience is how long a server may take to be ready.
	startPatience = 2 * time.Minute
	// loader is the account that loads.
	loader = "xvault_drill"
	// serverSocket and nothing are in the room: the latter is a folder without anything.
	serverSocket = "sock"
	nothing      = "nothing"
)

// scratchServer is a server that runs in a room.
type scratchServer struct {
	room   *scratch.Room
	server *scratch.Server
	target *target // connects as the loader
}

// roomDialer leads every connection to the server's socket.
type roomDialer struct{ room *scratch.Room }

// DialContext implements connectors.Dialer.
func (d roomDialer) DialContext(ctx context.Context, _, _ string) (net.Conn, error) {
	return d.room.Dial(ctx, serverSocket)
}

// serverProgram is an installed server, and what makes its system tables.
type serverProgram struct {
	tool
	installer string
}

// chooseServer takes the newest server that is installed, if it is not older than what
// was dumped.
func (d *drill) chooseServer(ctx context.Context) (serverProgram, error) {
	tools, err := findTools(ctx, d.options.ServerFolders, []string{"mariadbd", "mysqld"})
	if err != nil {
		return serverProgram{}, err
	}
	var best serverProgram
	for _, t := range tools {
		if installer := installerOf(t.path); t.flavor == mariaDB && installer != "" && (best.path == "" || newer(t.version, best.version)) {
			best = serverProgram{t, installer}
		}
	}
	wanted := version{flavor: mariaDB}
	for _, dump := range d.dumps {
		if v := dump.about.server; dump.result.Code == "" && newer(v, wanted) {
			wanted = v
		}
	}
	switch {
	case best.path == "":
		return best, job.Errorf(job.Unprovable, "The snapshot is of %s, and this worker has no MariaDB server: install mariadb-server on it, for restore drills. The server need not run.", wanted)
	case !best.atLeast(wanted.major, wanted.minor):
		return best, job.Errorf(job.Unprovable, "The snapshot is of %s, and this worker's MariaDB server is %s: install that version or a later one, for restore drills.", wanted, best.version)
	}
	return best, nil
}

// installerOf finds the program that makes the system tables for a server.
func installerOf(server string) string {
	prefix := filepath.Dir(filepath.Dir(server))
	for _, folder := range []string{filepath.Join(prefix, "bin"), filepath.Join(prefix, "scripts"), "/usr/bin"} {
		for _, name := range []string{"mariadb-install-db", "mysql_install_db"} {
			path := filepath.Join(folder, name)
			if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
				return path
			}
		}
	}
	return ""
}

// start makes a server that listens on a socket in its room, and on nothing else.
func (d *drill) start(ctx context.Context, room *scratch.Room) (*scratchServer, error) {
	program, err := d.chooseServer(ctx)
	if err != nil {
		return nil, err
	}
	d.result.Server = program.String()
	if !room.Walkable() {
		return nil, job.Errorf(job.Unprovable, "MariaDB's server cannot run below WORKER_TEMP_DIR as another user: the worker is root, but may not mount. Run it as a user of its own, or permit it to (CAP_SYS_ADMIN).")
	}
	client, err := (&reach{options: d.options}).findClient(ctx)
	if err != nil {
		return nil, lacking(err)
	}
	s := &scratchServer{room: room}
	if err := s.initialize(ctx, program); err != nil {
		return nil, unstartable(err)
	}
	if s.server, err = room.Start(scratch.Program{Path: program.path, Args: serverArgs(room), Stop: syscall.SIGTERM}); err != nil {
		return nil, unstartable(err)
	}
	root := d.as(room, "root", secret.Text{})
	err = s.server.Ready(ctx, startPatience, func(ctx context.Context) error {
		in, err := root.connect(ctx)
		if err == nil {
			in.close()
		}
		return err
	})
	if err != nil {
		return nil, unstartable(err)
	}
	password := secret.New(rand.Text())
	if err := d.prepare(ctx, root, password); err != nil {
		return nil, unstartable(err)
	}
	s.target = &target{reach: d.as(room, loader, password), client: client}
	if s.target.server, err = s.target.connect(ctx); err != nil {
		return nil, s.broken(err)
	}
	return s, nil
}

// close ends the connection; the room ends the server.
func (s *scratchServer) close() { s.target.server.close() }

// lacking is the error of a worker without a program.
func lacking(err error) error {
	if e, ok := errors.AsType[*job.Error](err); ok && e.Code == job.ConfigInvalid {
		return &job.Error{Code: job.Unprovable, Err: err, Message: e.Message}
	}
	return err
}

// unstartable is the error of a server that does not run.
func unstartable(err error) error {
	return &job.Error{Code: job.Unprovable, Err: err, Message: fmt.Sprintf("The scratch server did not start, so that nothing can be said about the snapshot: %.600s", err)}
}

// broken explains an error of the server's that is not the dump's fault.
func (s *scratchServer) broken(err error) error {
	why := err
	if ended := s.server.Ended(); ended != nil {
		why = ended
	}
	return &job.Error{Code: job.Unprovable, Err: err, Message: fmt.Sprintf("The scratch server failed, so that nothing can be said about the snapshot: %.600s", why)}
}

// small are settings that have a server get by on little.
func small(room *scratch.Room) []string {
	return []string{
		"--no-defaults", "--datadir=" + room.Path("data"), "--tmpdir=" + room.Path("data"), "--skip-name-resolve",
		"--innodb-buffer-pool-size=64M", "--innodb-log-file-size=48M", "--key-buffer-size=8M", "--aria-pagecache-buffer-size=8M",
		"--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-dump-at-shutdown=0", "--innodb-buffer-pool-load-at-startup=0",
	}
}

func (s *scratchServer) initialize(ctx context.Context, p serverProgram) error {
	if err := s.room.Mkdir(nothing); err != nil {
		return err
	}
	args := append(small(s.room), "--auth-root-authentication-method=normal", "--skip-test-db")
	return s.room.Run(ctx, scratch.Program{Path: p.installer, Args: args})
}

// serverArgs are a server's settings: nothing of it has to survive, it loads no code,
// and reads and writes no file that SQL names. It takes tables that a server with other
// limits took.
func serverArgs(room *scratch.Room) []string {
	return append(small(room),
		"--socket="+room.Path(serverSocket), "--pid-file="+room.Path("pid"), "--skip-networking", "--skip-log-bin", "--max-connections=10",
		"--plugin-dir="+room.Path(nothing), "--secure-file-priv="+room.Path(nothing), "--local-infile=0", "--skip-symbolic-links",
		"--event-scheduler=OFF", "--innodb-doublewrite=0", "--innodb-flush-method=nosync", "--sync-frm=0", "--character-set-server=utf8mb4",
		"--max-allowed-packet=1G", "--max-heap-table-size=1G", "--innodb-strict-mode=OFF", "--general-log=0", "--slow-query-log=0", "--log-warnings=1",
	)
}

// as connects with an account.
func (d *drill) as(room *scratch.Room, user string, password secret.Text) *reach {
	return &reach{
		config: Config{Host: "scratch", Port: 3306, Username: user, TLS: TLSDisabled}, options: d.options,
		env: connectors.Env{Credential: job.Credential{Password: password}, Dial: roomDialer{room}, TempDir: d.env.TempDir, Log: d.env.Log},
	}
}

// prepare makes the databases and the accounts, and removes every other account: what
// a dump runs in the name of root, or of the server's own, then runs in nobody's.
func (d *drill) prepare(ctx context.Context, root *reach, password secret.Text) error {
	in, err := root.connect(ctx)
	if err != nil {
		return err
	}
	defer in.close()
	others, err := in.ask(ctx, "SELECT User, Host FROM mysql.global_priv", maxNames)
	if err != nil {
		return err
	}
	own := quoteText(loader) + "@'localhost'"
	statements := []string{
		"CREATE USER " + own + " IDENTIFIED BY " + quoteText(password.Reveal()),
		"GRANT SET USER ON *.* TO " + own,
	}
	for _, dump := range d.dumps {
		if dump.result.Code != "" {
			continue
		}
		statements = append(statements, "CREATE DATABASE "+quoteName(dump.into)+dump.about.made, "GRANT ALL ON "+quotePattern(dump.into)+".* TO "+own)
	}
	for _, row := range others {
		statements = append(statements, "DROP USER "+quoteText(row[0])+"@"+quoteText(row[1]))
	}
	// This connection has its rights until it ends.
	for _, sql := range append(statements, d.owners()...) {
		if _, err := in.db.ExecContext(ctx, sql); err != nil {
			return fmt.Errorf("%.60s: %w", sql, err)
		}
	}
	return nil
}

// owners makes accounts that nobody can use, for views and routines to belong to.
func (d *drill) owners() []string {
	var statements []string
	for _, dump := range d.dumps {
		if dump.result.Code != "" {
			continue
		}
		for a := range dump.about.definers {
			if a.user == "" || a.user == loader || len(a.user) > 80 || len(a.host) > 60 || strings.ContainsFunc(a.user+a.host, isControl) {
				continue // it stays without an owner, which a view that nobody looks through can be
			}
			name := quoteText(a.user) + "@" + quoteText(a.host)
			statements = append(statements, "CREATE USER IF NOT EXISTS "+name+" IDENTIFIED BY "+quoteText(rand.Text())+" ACCOUNT LOCK",
				"GRANT ALL ON "+quotePattern(dump.into)+".* TO "+name)
		}
	}
	return statements
}

// serverFolders are where servers are looked for.
func serverFolders() []string {
	return append([]string{"/usr/local/sbin", "/usr/sbin", "/usr/libexec", "/usr/local/mysql/bin"}, dumptool.SystemFolders()...)
}
