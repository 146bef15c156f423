package devenv

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"xvault/internal/secret"
)

// PostgresConfig says how to run a private server.
type PostgresConfig struct {
	// Dir holds the data; it is made if it does not exist, and data found there
	// is used. Whoever made it removes it.
	Dir string
	// Durable turns fsync on. Without it a crash of the machine may lose
	// everything, which tests do not mind; a crash of the server loses nothing.
	Durable bool
	// MaxConnections bounds the server's connections; 0 means 200.
	MaxConnections int
	// Extra are more server settings, "name=value".
	Extra []string
}

// Postgres is a private server.
type Postgres struct {
	cfg      PostgresConfig
	account  *Account
	password secret.Text
	port     int
	bin      string // folder of the programs
	process  *Process
	output   *Tail
}

const (
	postgresUser   = "xvault"
	startAttempts  = 5 // with another port each
	startTimeout   = 60 * time.Second
	connectTimeout = 5 * time.Second
)

// NewPostgres makes the data folder if needed and starts the server.
func NewPostgres(ctx context.Context, cfg PostgresConfig) (*Postgres, error) {
	if cfg.MaxConnections == 0 {
		cfg.MaxConnections = 200
	}
	initdb, err := find("initdb", postgresFolders()...)
	if err != nil {
		return nil, err
	}
	// A link may lead to where the other programs are.
	if initdb, err = filepath.EvalSymlinks(initdb); err != nil {
		return nil, fmt.Errorf("find postgres: %w", err)
	}
	account, err := unprivileged("postgres", "nobody")
	if err != nil {
		return nil, err
	}
	p := &Postgres{cfg: cfg, account: account, bin: filepath.Dir(initdb)}
	if err := p.prepare(ctx); err != nil {
		return nil, fmt.Errorf("prepare postgres: %w", err)
	}
	for attempt := 1; ; attempt++ {
		if p.port, err = FreePort(); err != nil {
			return nil, err
		}
		if err = p.Start(ctx); err == nil || attempt == startAttempts || ctx.Err() != nil {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	return p, nil
}

func (p *Postgres) data() string { return filepath.Join(p.cfg.Dir, "data") }

// prepare runs initdb unless the folder has a database cluster already.
func (p *Postgres) prepare(ctx context.Context) error {
	if err := os.MkdirAll(p.cfg.Dir, 0o700); err != nil {
		return err
	}
	if err := p.account.own(p.cfg.Dir); err != nil {
		return err
	}
	pwfile := filepath.Join(p.cfg.Dir, "password")
	if b, err := os.ReadFile(pwfile); err == nil {
		p.password = secret.New(string(b))
		return nil
	} else if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	p.password = secret.New(rand.Text())
	// A folder without the password file is one whose making was interrupted.
	if err := os.RemoveAll(p.data()); err != nil {
		return err
	}
	making := pwfile + ".new"
	if err := os.WriteFile(making, []byte(p.password.Reveal()), 0o600); err != nil {
		return err
	}
	if err := p.account.own(making); err != nil {
		return err
	}
	if err := p.initdb(ctx, making); err != nil {
		return err
	}
	return os.Rename(making, pwfile)
}

func (p *Postgres) initdb(ctx context.Context, pwfile string) error {
	args := []string{
		"-D", p.data(), "-U", postgresUser, "--pwfile=" + pwfile,
		"--auth=scram-sha-256", "-E", "UTF8", "--locale=C",
	}
	if !p.cfg.Durable {
		args = append(args, "--no-sync")
	}
	var output Tail
	proc, err := Start(Command{Path: filepath.Join(p.bin, "initdb"), Args: args, Dir: p.cfg.Dir, User: p.account, Output: &output})
	if err != nil {
		return err
	}
	select {
	case <-proc.Done():
	case <-ctx.Done():
		return errors.Join(context.Cause(ctx), proc.Kill())
	}
	if proc.Err() != nil {
		return fmt.Errorf("initdb: %w\n%s", proc.Err(), output.String())
	}
	return nil
}

func (p *Postgres) settings() []string {
	settings := []string{
		"port=" + strconv.Itoa(p.port), "listen_addresses=127.0.0.1", "unix_socket_directories=" + p.cfg.Dir,
		"max_connections=" + strconv.Itoa(p.cfg.MaxConnections), "shared_buffers=64MB", "logging_collector=off",
		"timezone=UTC", "log_timezone=UTC",
	}
	if !p.cfg.Durable {
		// Commits stay synchronous: without that a server that stops at once forgets
		// the last of what it acknowledged.
		settings = append(settings, "fsync=off", "full_page_writes=off")
	}
	settings = append(settings, p.cfg.Extra...)
	args := []string{"-D", p.data()}
	for _, s := range settings {
		args = append(args, "-c", s)
	}
	return args
}

// Start starts a server that was stopped, on the same port, and waits until it
// answers.
func (p *Postgres) Start(ctx context.Context) error {
	p.output = &Tail{}
	proc, err := Start(Command{
		Path: filepath.Join(p.bin, "postgres"), Args: p.settings(), Dir: p.cfg.Dir, User: p.account, Output: p.output,
		// The "immediate" shutdown: the postmaster ends its children and its
		// shared memory, which SIGKILL would leave behind.
		DeathSignal: syscall.SIGQUIT,
	})
	if err != nil {
		return err
	}
	p.process = proc
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		err := p.ping(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-proc.Done():
			return fmt.Errorf("postgres ended while starting: %w\n%s", proc.Err(), p.output.String())
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("postgres does not answer: %w\n%s", err, p.output.String()), proc.Kill())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (p *Postgres) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	conn, err := pgx.Connect(ctx, p.URL("postgres"))
	if err != nil {
		return err
	}
	return conn.Close(ctx)
}

// URL addresses one database of the server. It holds the password.
func (p *Postgres) URL(database string) string {
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword(postgresUser, p.password.Reveal()),
		Host: p.Addr(), Path: "/" + database, RawQuery: "sslmode=disable",
	}
	return u.String()
}

// Addr is host and port.
func (p *Postgres) Addr() string { return "127.0.0.1:" + strconv.Itoa(p.port) }

// Done is closed when the server has ended, for whatever reason.
func (p *Postgres) Done() <-chan struct{} { return p.process.Done() }

// Log is the last part of the server's log.
func (p *Postgres) Log() string { return p.output.String() }

// Exec runs statements on one database, each outside a transaction.
func (p *Postgres) Exec(ctx context.Context, database string, statements ...string) error {
	conn, err := pgx.Connect(ctx, p.URL(database))
	if err != nil {
		return fmt.Errorf("connect to database %s: %w", database, err)
	}
	for _, s := range statements {
		if _, err = conn.Exec(ctx, s); err != nil {
			err = fmt.Errorf("%s: %w", s, err)
			break
		}
	}
	return errors.Join(err, conn.Close(ctx))
}

// Stop shuts down in order: sessions are ended, everything is written.
func (p *Postgres) Stop() error { return p.process.Stop(syscall.SIGINT, 20*time.Second) }

// Crash is Postgres's "immediate" shutdown: no checkpoint, no word to clients;
// the next Start recovers from the log.
func (p *Postgres) Crash() error { return p.process.Stop(syscall.SIGQUIT, 10*time.Second) }

// DumpDatabase gives the content of one database as SQL, with pg_dump.
func DumpDatabase(ctx context.Context, databaseURL string) (string, error) {
	pgDump, err := find("pg_dump", postgresFolders()...)
	if err != nil {
		return "", err
	}
	u, err := url.Parse(databaseURL)
	if err != nil || u.User == nil {
		return "", errors.New("pg_dump: not a postgres:// address with a user")
	}
	password, _ := u.User.Password()
	u.User = url.User(u.User.Username())
	cmd := exec.CommandContext(ctx, pgDump, "--dbname", u.String())
	cmd.Env = append(plainEnv(), "PGPASSWORD="+password)
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("pg_dump: %w", err)
	}
	return string(out), nil
}
