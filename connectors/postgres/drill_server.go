package postgres

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"xvault/connectors/scratch"
	"xvault/internal/job"
	"xvault/internal/secret"
)

// emptyServer is what a server without databases takes, with its log, in bytes.
const emptyServer = 192 << 20

// startPatience is how long a server may take to be ready.
const startPatience = 2 * time.Minute

// drillPatience is how long the scratch server may be silent: it builds indexes, and
// counts.
const drillPatience = 6 * time.Hour

// loader is the role that owns all that is loaded.
const loader = "xvault_drill"

// scratchServer is a server that runs in a room.
type scratchServer struct {
	client client
	room   *scratch.Room
	server *scratch.Server
	admin  *server // connects as the superuser
	loader *server // connects as the role of that name
	home   string  // a database that no dump is of
}

// roomDialer leads every connection to the server's socket.
type roomDialer struct{ room *scratch.Room }

// DialContext implements connectors.Dialer.
func (d roomDialer) DialContext(ctx context.Context, _, _ string) (net.Conn, error) {
	return d.room.Dial(ctx, ".s.PGSQL."+socketPort)
}

// start makes a server that listens on a socket in its room, and on nothing else.
func (d *drill) start(ctx context.Context, room *scratch.Room) (*scratchServer, error) {
	c, err := d.chooseServer(ctx)
	if err != nil {
		return nil, err
	}
	s := &scratchServer{client: c, room: room, home: "xvault_" + strings.ToLower(rand.Text())}
	root, password := "xvault_"+strings.ToLower(rand.Text()), secret.New(rand.Text())
	if err := s.initialize(ctx, root, password); err != nil {
		return nil, unstartable(err)
	}
	if s.admin, err = s.as(root, password); err != nil {
		return nil, err
	}
	if s.server, err = room.Start(scratch.Program{Path: c.program("postgres"), Args: serverArgs(room), Stop: syscall.SIGQUIT}); err != nil {
		return nil, unstartable(err)
	}
	err = s.server.Ready(ctx, startPatience, func(ctx context.Context) error {
		in, err := s.admin.inspect(ctx, "template1", startPatience)
		if err == nil {
			in.close()
		}
		return err
	})
	if err != nil {
		return nil, unstartable(err)
	}
	return s, d.prepare(ctx, s)
}

// unstartable is the error of a server that does not run.
func unstartable(err error) error {
	if e := asJobError(err); e != nil && e.Code == job.StorageFull {
		return err
	}
	return &job.Error{Code: job.Unprovable, Err: err, Message: fmt.Sprintf("The scratch server did not start, so that nothing can be said about the snapshot: %.600s", err)}
}

func (s *scratchServer) initialize(ctx context.Context, root string, password secret.Text) error {
	const file = "password"
	if err := s.room.Write(file, []byte(password.Reveal())); err != nil {
		return err
	}
	err := s.room.Run(ctx, scratch.Program{Path: s.client.program("initdb"), Args: []string{
		"--pgdata=" + s.room.Path("data"), "--username=" + root, "--pwfile=" + s.room.Path(file), "--auth=scram-sha-256",
		"--encoding=UTF8", "--locale=C", "--no-sync",
	}})
	return errors.Join(err, s.room.Remove(file))
}

// serverArgs are a server's settings: nothing of it has to survive, and it gets by on
// little.
func serverArgs(room *scratch.Room) []string {
	args := []string{"-D", room.Path("data")}
	for _, setting := range []string{
		"listen_addresses=", "unix_socket_directories=" + filepath.Dir(room.Path("x")), "unix_socket_permissions=0700", "port=" + socketPort,
		"max_connections=12", "superuser_reserved_connections=3", "max_worker_processes=0", "max_parallel_workers=0", "max_wal_senders=0",
		"wal_level=minimal", "max_wal_size=128MB", "min_wal_size=32MB", "fsync=off", "synchronous_commit=off", "full_page_writes=off",
		"shared_buffers=48MB", "maintenance_work_mem=96MB", "work_mem=8MB", "dynamic_shared_memory_type=mmap", "autovacuum=off", "jit=off",
		"logging_collector=off", "log_destination=stderr", "log_statement=none", "log_min_error_statement=panic", "archive_mode=off", "restart_after_crash=off",
		"shared_preload_libraries=", "session_preload_libraries=", "local_preload_libraries=", "max_prepared_transactions=0",
	} {
		args = append(args, "-c", setting)
	}
	return args
}

// as connects as a role.
func (s *scratchServer) as(role string, password secret.Text) (*server, error) {
	config := Config{Host: "scratch", Port: 5432, Username: role, SSLMode: Disable}
	return newServer(config, job.Credential{Password: password}, roomDialer{s.room}, startPatience)
}

// prepare makes the roles, and a database for what concerns the whole server.
func (d *drill) prepare(ctx context.Context, s *scratchServer) error {
	password := secret.New(rand.Text())
	var err error
	if s.loader, err = s.as(loader, password); err != nil {
		return err
	}
	in, err := s.asAdmin(ctx, "template1")
	if err != nil {
		return err
	}
	defer in.close()
	version, err := in.one(1, "SELECT current_setting('server_version')")
	if err != nil {
		return s.broken(err)
	}
	d.result.Server = "PostgreSQL " + strings.Fields(version[0] + " ")[0]
	statements := []string{
		"CREATE DATABASE " + quoteIdent(s.home) + " TEMPLATE template0",
		// Row-level security that is forced on owners would hide rows from who counts.
		"CREATE ROLE " + loader + " LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION BYPASSRLS CONNECTION LIMIT 4 PASSWORD '" + password.Reveal() + "'",
		"REVOKE ALL ON DATABASE postgres, template1 FROM PUBLIC",
	}
	for _, sql := range statements {
		if _, err := in.ask(sql); err != nil {
			return s.broken(err)
		}
	}
	for _, role := range d.roles {
		// What has a name that is taken, or that the server keeps for itself, is not
		// needed, or shows when it is.
		_, err := in.ask("CREATE ROLE " + quoteIdent(role) + " NOLOGIN")
		if err != nil && job.CodeOf(err) != job.DumpFailed {
			return s.broken(err)
		}
	}
	return nil
}

// asAdmin connects as the superuser, to change something.
func (s *scratchServer) asAdmin(ctx context.Context, database string) (*inspector, error) {
	in, err := s.admin.inspect(ctx, database, drillPatience)
	if err == nil {
		if _, err = in.ask("SELECT set_config('default_transaction_read_only', 'off', false)"); err == nil {
			return in, nil
		}
		in.close()
	}
	return nil, s.broken(err)
}

// broken explains an error of the server's that is not the dump's fault.
func (s *scratchServer) broken(err error) error {
	why := err
	if ended := s.server.Ended(); ended != nil {
		why = ended
	}
	return &job.Error{Code: job.Unprovable, Err: err, Message: fmt.Sprintf("The scratch server failed, so that nothing can be said about the snapshot: %.600s", why)}
}

// makeDatabase makes the database that a dump is loaded into, and gives its name, beside
// an error, too, where it was made.
func (s *scratchServer) makeDatabase(ctx context.Context, dump *dumped) (string, error) {
	in, err := s.asAdmin(ctx, s.home)
	if err != nil {
		return "", err
	}
	defer in.close()
	name := dump.name
	if name == "template0" || name == "template1" {
		name = "xvault_" + name
	}
	sql := "CREATE DATABASE " + quoteIdent(name) + " OWNER " + loader + " TEMPLATE template0"
	if dump.about.encoding != "" {
		sql += " ENCODING " + quoteText(dump.about.encoding)
	}
	if _, err := in.ask("DROP DATABASE IF EXISTS " + quoteIdent(name)); err != nil { // postgres is there
		return "", s.broken(err)
	}
	if dump.about.collate != "" && dump.about.ctype != "" {
		_, err = in.ask(sql + " LC_COLLATE " + quoteText(dump.about.collate) + " LC_CTYPE " + quoteText(dump.about.ctype))
		if err == nil {
			return name, s.extend(ctx, dump, name)
		}
		dump.otherLocale = true
	}
	if _, err := in.ask(sql); err != nil {
		return "", &job.Error{Code: job.Unprovable, Err: err, Message: fmt.Sprintf("the scratch server cannot make a database like it: %.600s", err)}
	}
	return name, s.extend(ctx, dump, name)
}

func (s *scratchServer) dropDatabase(ctx context.Context, name string) error {
	in, err := s.asAdmin(ctx, s.home)
	if err != nil {
		return err
	}
	defer in.close()
	force := ""
	if s.client.major >= 13 {
		force = " WITH (FORCE)"
	}
	if _, err := in.ask("DROP DATABASE IF EXISTS " + quoteIdent(name) + force); err != nil {
		return s.broken(err)
	}
	return nil
}

// quoteText writes a text as SQL, whatever the server's settings.
func quoteText(text string) string {
	return " E'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(text) + "'"
}
