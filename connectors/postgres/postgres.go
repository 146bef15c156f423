// Package postgres backs up PostgreSQL servers with PostgreSQL's own programs, so
// that what comes out restores with them, on any machine, without xVault.
//
// # What is stored
//
// postgres/globals.sql holds what belongs to the whole server (roles, tablespaces),
// as pg_dumpall writes it; without the passwords of roles, where the backup's role may
// not read those. postgres/<database>.dump is each database in pg_dump's custom format,
// or postgres/<database>.sql as SQL text. It is not compressed by pg_dump: the archive
// compresses better. Each database is what it was at one moment; they are dumped one
// after the other.
//
// # What is trusted
//
// This package finds out the server's version and logs in by itself, through the
// guarded dialer, and hands pg_dump a connection that is logged in already (see
// handover): the program sees neither a password nor the network. An archive counts
// only after pg_restore has read all of it, while it streamed.
//
// # A source that changes
//
// With databases ["*"] a database that is dropped before its turn comes is visited as
// vanished. One that was named, or that is there and cannot be read, ends the backup.
package postgres

import (
	"time"

	"xvault/connectors"
	"xvault/connectors/dumptool"
	"xvault/connectors/sshtunnel"
)

// Version goes into manifests; it changes when what is read changes.
const Version = "1"

// Options say how servers are dealt with, where a test needs it otherwise.
type Options struct {
	// ClientFolders are where PostgreSQL's programs are looked for, as patterns. By
	// default those of Debian's, Red Hat's and PostgreSQL's own packages.
	ClientFolders []string
	// LockWait bounds how long pg_dump waits for a table that somebody has locked.
	// Default 10 min.
	LockWait time.Duration
	// Patience is how long a server may be silent while it is waited for. Default
	// 15 min: counting large objects or reading the catalog of a hundred thousand
	// tables takes a while.
	Patience time.Duration
	// ConnectTimeout bounds everything up to the login. Default 45 s.
	ConnectTimeout time.Duration
	// Tunnel are the deadlines of a connection through SSH.
	Tunnel sshtunnel.Options
}

func (o Options) withDefaults() Options {
	if o.ClientFolders == nil {
		o.ClientFolders = append([]string{"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/local/pgsql/bin"}, dumptool.SystemFolders()...)
	}
	if o.LockWait <= 0 {
		o.LockWait = 10 * time.Minute
	}
	if o.Patience <= 0 {
		o.Patience = 15 * time.Minute
	}
	if o.ConnectTimeout <= 0 {
		o.ConnectTimeout = 45 * time.Second
	}
	return o
}

// Type is the source type "postgres".
func Type() connectors.Type { return New(Options{}) }

// New is the source type "postgres" with other options than the default.
func New(o Options) connectors.Type {
	o = o.withDefaults()
	return connectors.Type{
		Name: "postgres", Version: Version, Validate: Validate,
		Open: func(config []byte, env connectors.Env) (connectors.Source, error) {
			return open(config, env, o)
		},
		OpenTarget: func(config []byte, env connectors.Env, opts connectors.TargetOptions) (connectors.Target, error) {
			return openTarget(config, env, o, opts)
		},
		Run: sshtunnel.Run, Drill: o.drill,
	}
}
