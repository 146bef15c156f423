package wordpress

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"

	"xvault/connectors"
	"xvault/connectors/mysql"
	"xvault/connectors/sftp"
	"xvault/connectors/sshtunnel"
	"xvault/internal/job"
)

// source implements connectors.Source.
type source struct {
	config  Config
	env     connectors.Env
	options Options
	parts   parts

	mu     sync.Mutex
	open   []connectors.Source // to be closed
	pinned []string            // host keys that were pinned meanwhile
	about  *connectors.Software
	closed bool
}

// open makes a source of a canonical configuration.
func open(config []byte, env connectors.Env, o Options, p parts) (*source, error) {
	s := &source{env: env, options: o, parts: p}
	if err := json.Unmarshal(config, &s.config); err != nil {
		return nil, job.Errorf(job.ConfigInvalid, "the source's configuration is not valid: %w", err)
	}
	if s.env.Log == nil {
		s.env.Log = slog.New(slog.DiscardHandler)
	}
	if pin := env.PinHostKey; pin != nil {
		// The database is reached over a connection of its own, with the same server.
		s.env.PinHostKey = func(ctx context.Context, key string) error {
			err := pin(ctx, key)
			if err == nil {
				s.mu.Lock()
				defer s.mu.Unlock()
				s.pinned = append(s.pinned, key)
			}
			return err
		}
	}
	return s, nil
}

// describe keeps what the manifest tells of the site's software.
func (s *source) describe(inv *inventory) {
	if s.config.HideVersions {
		return
	}
	list := func(from []component) (to []connectors.Component) {
		for _, c := range from {
			to = append(to, connectors.Component{Name: c.Name, Version: c.Version, Active: c.Active})
		}
		return to
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.about = &connectors.Software{Version: inv.version, Plugins: list(inv.plugins), MustUse: list(inv.mustUse), Themes: list(inv.themes)}
}

// Software implements connectors.Described.
func (s *source) Software() *connectors.Software {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.about
}

// keep has a source closed with this one.
func (s *source) keep(part connectors.Source) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		_ = part.Close() // it has not connected yet
		return job.Errorf(job.Internal, "the source is closed")
	}
	s.open = append(s.open, part)
	return nil
}

// Close implements connectors.Source.
func (s *source) Close() error {
	s.mu.Lock()
	open := s.open
	s.open, s.closed = nil, true
	s.mu.Unlock()
	var first error
	for _, part := range open {
		if err := part.Close(); err != nil && first == nil {
			first = err
		}
	}
	return first
}

// files is the source that reads files, and looks at single ones before.
type files struct {
	connectors.Source
	sftp.Peeker
}

// openFiles makes it; content is the folder whose caches are left out.
func (s *source) openFiles(content string) (files, error) {
	part, err := s.part(s.parts.files, s.config.filesConfig(content), s.env)
	if err != nil {
		return files{}, err
	}
	peeker, ok := part.(sftp.Peeker)
	if !ok {
		return files{}, job.Errorf(job.Internal, "the files cannot be looked at")
	}
	return files{part, peeker}, nil
}

func (s *source) part(kind connectors.Type, config any, env connectors.Env) (connectors.Source, error) {
	raw, err := json.Marshal(config)
	if err != nil {
		return nil, job.Errorf(job.Internal, "the configuration of a part cannot be written: %w", err)
	}
	part, err := kind.Open(raw, env)
	if err != nil {
		return nil, err
	}
	return part, s.keep(part)
}

// database is the source that dumps the database, and answers questions before.
type database struct {
	connectors.Source
	mysql.Asker
}

// tunnelCredential stands where the configuration of a database names the credential
// of the machine in between: there is one. It is never looked up.
const tunnelCredential = "00000000-0000-0000-0000-000000000000"

// openDatabase makes it. The site's machine is the one in between; the way in is its.
func (s *source) openDatabase(found *settings, at address) (database, error) {
	config, env, err := s.databaseOf(found, at)
	if err != nil {
		return database{}, err
	}
	part, err := s.part(s.parts.database, config, env)
	if err != nil {
		return database{}, err
	}
	asker, ok := part.(mysql.Asker)
	if !ok {
		return database{}, job.Errorf(job.Internal, "the database cannot be asked")
	}
	return database{part, asker}, nil
}

// databaseOf says how a site's database is reached.
func (s *source) databaseOf(found *settings, at address) (mysql.Config, connectors.Env, error) {
	if found.database == "*" {
		return mysql.Config{}, connectors.Env{}, job.Errorf(job.ConfigInvalid, "DB_NAME is %q, which is the name of no database that can be backed up", found.database)
	}
	tls := mysql.TLSPreferred
	if at.socket != "" {
		tls = mysql.TLSDisabled
	}
	config := mysql.Config{
		Host: at.host, Port: at.port, Socket: at.socket, Username: found.user, Databases: []string{found.database},
		Tables: []string{}, ExcludeTables: []string{}, Routines: true, TLS: tls,
		SSH: &sshtunnel.Config{
			Host: s.config.Host, Port: s.config.Port, Username: s.config.Username, CredentialID: tunnelCredential,
			HostKeys: s.config.HostKeys, TrustOnFirstUse: s.config.TrustOnFirstUse, Dump: sshtunnel.DumpAuto,
		},
	}
	if at.socket != "" {
		config.Host = "localhost"
	}
	return config, s.databaseEnv(found), nil
}

// databaseEnv has the database's password for a credential, and that of the source for
// the machine in between.
func (s *source) databaseEnv(found *settings) connectors.Env {
	env := s.env
	env.SSHCredential = s.env.Credential
	env.Credential = job.Credential{Type: "password", Password: found.password}
	s.mu.Lock()
	defer s.mu.Unlock()
	env.PinnedHostKeys = append(append([]string{}, env.PinnedHostKeys...), s.pinned...)
	return env
}
