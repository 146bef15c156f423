package devenv

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/go-sql-driver/mysql"

	"xvault/internal/secret"
)

// MariaDBConfig says how to run a private server.
type MariaDBConfig struct {
	// Dir holds the data, the socket and the certificate; it is made if it does not
	// exist. Whoever made it removes it.
	Dir string
	// NoTLS leaves TLS out, as the older versions do unless they are told.
	NoTLS bool
	// SocketOnly leaves TCP out.
	SocketOnly bool
	// Extra are more server options, "--name=value".
	Extra []string
}

// MariaDB is a private server with one account that may do everything.
type MariaDB struct {
	User     string
	Password secret.Text
	// CertificatePEM is the server's own, which nobody but itself signed. It is for
	// "localhost" and 127.0.0.1.
	CertificatePEM string

	cfg     MariaDBConfig
	account *Account
	program string
	port    int
	process *Process
	output  *Tail
}

// mariadbUser is the account that may do everything.
const mariadbUser = "xvault"

// NewMariaDB makes the data folder and starts the server.
func NewMariaDB(ctx context.Context, cfg MariaDBConfig) (*MariaDB, error) {
	program, err := find("mariadbd", "/usr/sbin", "/usr/local/sbin", "/usr/libexec")
	if err != nil {
		return nil, err
	}
	account, err := unprivileged("mysql", "nobody")
	if err != nil {
		return nil, err
	}
	m := &MariaDB{User: mariadbUser, Password: secret.New(rand.Text()), cfg: cfg, account: account, program: program}
	if err := m.prepare(ctx); err != nil {
		return nil, fmt.Errorf("prepare mariadb: %w", err)
	}
	for attempt := 1; ; attempt++ {
		if m.port, err = FreePort(); err != nil {
			return nil, err
		}
		if err = m.Start(ctx); err == nil {
			return m, nil
		}
		if attempt == startAttempts || ctx.Err() != nil {
			return nil, err
		}
	}
}

func (m *MariaDB) file(name string) string { return filepath.Join(m.cfg.Dir, name) }

// Socket is the path of the server's socket.
func (m *MariaDB) Socket() string { return m.file("sock") }

func (m *MariaDB) prepare(ctx context.Context) error {
	if err := os.MkdirAll(m.cfg.Dir, 0o711); err != nil { //nolint:gosec // clients pass through to the socket
		return err
	}
	if err := m.account.own(m.cfg.Dir); err != nil {
		return err
	}
	if err := m.certificate(); err != nil {
		return err
	}
	if err := m.write("init.sql", fmt.Sprintf(
		"CREATE OR REPLACE USER %[1]s@'%%' IDENTIFIED BY '%[2]s';\nGRANT ALL ON *.* TO %[1]s@'%%' WITH GRANT OPTION;\n"+
			"DROP USER IF EXISTS root@localhost;\n", mariadbUser, m.Password.Reveal())); err != nil {
		return err
	}
	return m.install(ctx)
}

func (m *MariaDB) certificate() error {
	certificate, key, err := selfSigned("localhost", "127.0.0.1")
	if err != nil {
		return err
	}
	m.CertificatePEM = string(certificate)
	return errors.Join(m.write("cert.pem", string(certificate)), m.write("key.pem", string(key)))
}

// write makes a file that only the server reads.
func (m *MariaDB) write(name, content string) error {
	if err := os.WriteFile(m.file(name), []byte(content), 0o600); err != nil {
		return err
	}
	return m.account.own(m.file(name))
}

// install makes the system tables, unless they are there.
func (m *MariaDB) install(ctx context.Context) error {
	if _, err := os.Stat(m.file("data")); err == nil {
		return nil
	}
	program, err := find("mariadb-install-db")
	if err != nil {
		return err
	}
	making := m.file("data.new")
	if err := os.RemoveAll(making); err != nil {
		return err
	}
	args := []string{
		"--no-defaults", "--datadir=" + making, "--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve",
		"--innodb-log-file-size=4M", "--innodb-buffer-pool-size=8M", "--innodb-flush-log-at-trx-commit=0", "--tmpdir=" + m.cfg.Dir,
	}
	var output Tail
	proc, err := Start(Command{Path: program, Args: args, Dir: m.cfg.Dir, User: m.account, Output: &output})
	if err != nil {
		return err
	}
	select {
	case <-proc.Done():
	case <-ctx.Done():
		return errors.Join(context.Cause(ctx), proc.Kill())
	}
	if proc.Err() != nil {
		return fmt.Errorf("mariadb-install-db: %w\n%s", proc.Err(), output.String())
	}
	return os.Rename(making, m.file("data"))
}

func (m *MariaDB) options() []string {
	o := []string{
		"--no-defaults", "--datadir=" + m.file("data"), "--socket=" + m.Socket(), "--pid-file=" + m.file("pid"), "--tmpdir=" + m.cfg.Dir,
		"--init-file=" + m.file("init.sql"), "--skip-name-resolve", "--skip-log-bin", "--max-connections=200",
		"--innodb-log-file-size=32M", "--innodb-buffer-pool-size=48M", "--key-buffer-size=1M", "--aria-pagecache-buffer-size=4M",
		// Nothing here has to survive a crash of the machine.
		"--innodb-flush-log-at-trx-commit=0", "--innodb-doublewrite=0", "--innodb-flush-method=nosync", "--sync-frm=0",
		"--event-scheduler=OFF", "--character-set-server=utf8mb4", "--default-time-zone=+00:00",
	}
	if m.cfg.SocketOnly {
		o = append(o, "--skip-networking")
	} else {
		o = append(o, "--bind-address=127.0.0.1", "--port="+strconv.Itoa(m.port))
	}
	if !m.cfg.NoTLS {
		o = append(o, "--ssl-cert="+m.file("cert.pem"), "--ssl-key="+m.file("key.pem"))
	}
	return append(o, m.cfg.Extra...)
}

// Start starts a server that was stopped, on the same port, and waits until it
// answers.
func (m *MariaDB) Start(ctx context.Context) error {
	m.output = &Tail{}
	proc, err := Start(Command{Path: m.program, Args: m.options(), Dir: m.cfg.Dir, User: m.account, Output: m.output})
	if err != nil {
		return err
	}
	m.process = proc
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		err := m.Exec(ctx, "", "DO 1")
		if err == nil {
			return nil
		}
		select {
		case <-proc.Done():
			return fmt.Errorf("mariadbd ended while starting: %w\n%s", errOr(proc.Err(), "exit status 0"), m.output.String())
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("mariadbd does not answer: %w\n%s", err, m.output.String()), proc.Kill())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Open gives one database of the server, "" for none, to the account that may do
// everything. The caller closes it.
func (m *MariaDB) Open(database string) (*sql.DB, error) {
	c := mysql.NewConfig()
	c.User, c.Passwd, c.DBName = m.User, m.Password.Reveal(), database
	c.Net, c.Addr = "unix", m.Socket()
	c.Logger, c.Timeout = &mysql.NopLogger{}, connectTimeout
	connector, err := mysql.NewConnector(c)
	if err != nil {
		return nil, fmt.Errorf("open a database of mariadb: %w", err)
	}
	return sql.OpenDB(connector), nil
}

// Exec runs statements on one database, "" for none.
func (m *MariaDB) Exec(ctx context.Context, database string, statements ...string) error {
	db, err := m.Open(database)
	if err != nil {
		return err
	}
	conn, err := db.Conn(ctx) // one, for what a session is set to
	if err != nil {
		return errors.Join(fmt.Errorf("connect to mariadb: %w", err), db.Close())
	}
	for _, s := range statements {
		if _, err = conn.ExecContext(ctx, s); err != nil {
			err = fmt.Errorf("%.200s: %w", s, err)
			break
		}
	}
	return errors.Join(err, conn.Close(), db.Close())
}

// Port is where it listens on 127.0.0.1.
func (m *MariaDB) Port() int { return m.port }

// Addr is host and port.
func (m *MariaDB) Addr() string { return "127.0.0.1:" + strconv.Itoa(m.port) }

// Log is the last part of the server's log.
func (m *MariaDB) Log() string { return m.output.String() }

// Stop shuts down in order.
func (m *MariaDB) Stop() error { return m.process.Stop(syscall.SIGTERM, 20*time.Second) }

// Kill ends the server as a crash does; the next Start recovers from the log.
func (m *MariaDB) Kill() error { return m.process.Kill() }
