// Package mysql backs up MySQL and MariaDB servers: one dump for each database,
// made by the server's own dump program, as plain SQL that the stock client loads.
//
// # What is stored
//
// Each database is one member, mysql/<database>.sql, with the name encoded by
// connectors.EncodeName. It holds tables with their data, views, triggers, events,
// stored procedures and functions (and MariaDB's sequences and packages) as of one
// moment for transactional tables: the dump is one transaction. It does not name the
// database that it came from, so it loads into any. Accounts and grants are not in
// it.
//
// # What a backup promises
//
// A dump is stored only if the program ended well and its last line says that it is
// complete. What the account cannot see, the dump would leave out without a word:
// so the account's privileges are looked at first, and a backup that could lack
// something fails, with the GRANT to run. A database that is named and not there, a
// "*" that matches none, a table that is named and not there: all fail.
//
// # Connections
//
// Two kinds are made, both by the guarded dialer or inside an SSH tunnel: the
// connector's own, which looks around, and the program's, over a relay that logs in
// for it as far as TLS is concerned (see login.go): the server's certificate is
// checked here, on the very connection that the dump comes over.
package mysql

import (
	"time"

	"xvault/connectors"
	"xvault/connectors/dumptool"
	"xvault/connectors/sshtunnel"
)

// Version goes into manifests; it changes when what is read changes.
const Version = "1"

// Type is the source type "mysql".
func Type() connectors.Type { return New(Options{}) }

// Options are what tests set otherwise.
type Options struct {
	// Patience is how long a server may be silent while it is waited for. Default
	// 15 min: a dump sorts or locks for a while before the first row comes.
	Patience time.Duration
	// ConnectTimeout bounds making a connection and logging in, a tunnel's
	// included. Default 60 s.
	ConnectTimeout time.Duration
	// Folders are where the programs are looked for. Default: the system's.
	Folders []string
	// ServerFolders are where servers are looked for, for restore drills. Default: the
	// system's.
	ServerFolders []string
	// Tunnel are the deadlines of a tunnel.
	Tunnel sshtunnel.Options
	// Now tells the time that a dump is stored under. Default: the clock.
	Now func() time.Time
}

func (o Options) withDefaults() Options {
	if o.Patience <= 0 {
		o.Patience = 15 * time.Minute
	}
	if o.ConnectTimeout <= 0 {
		o.ConnectTimeout = time.Minute
	}
	if o.Folders == nil {
		o.Folders = dumptool.SystemFolders()
	}
	if o.ServerFolders == nil {
		o.ServerFolders = serverFolders()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// New is the source type "mysql" with other options than the default.
func New(o Options) connectors.Type {
	o = o.withDefaults()
	return connectors.Type{
		Name: "mysql", Version: Version, Validate: Validate,
		Open: func(config []byte, env connectors.Env) (connectors.Source, error) {
			r, err := newReach(config, env, o)
			if err != nil {
				return nil, err
			}
			return &source{reach: r}, nil
		},
		OpenTarget: func(config []byte, env connectors.Env, opts connectors.TargetOptions) (connectors.Target, error) {
			return newTarget(config, env, o, opts)
		},
		Run: sshtunnel.Run, Drill: o.drill,
	}
}
