// Package wordpress backs up WordPress sites over SSH: the files and the database in
// one snapshot, without anything being installed or run on the server but what the
// source type "ssh" uses.
//
// # What is stored
//
//   - files/...: the site's folder, as the source type "ssh" stores it, under names
//     relative to it. Caches are left out unless the configuration wants them. Folders
//     of wp-content that are links are followed, so that the snapshot holds what they
//     lead to.
//   - mysql/<database>.sql: the whole database, as the source type "mysql" dumps it.
//   - wordpress.json: the versions of WordPress, its plugins and themes, and the
//     settings that a restore needs to know, without secrets.
//   - wp-config.php, where that lies one folder above the site: see docs/sources/wordpress.md.
//
// # What is consistent with what
//
// The archive has a fixed order, in which files come before the database. The database
// is read first all the same: its dump begins before the first file is read, and shows
// the database as of that moment. What a post refers to is therefore in the files. The
// dump is kept in memory as far as it goes, compressed; a larger one waits, inside its
// transaction, and goes on after the files (see held.go).
//
// # What a backup promises
//
// A database that cannot be reached or dumped fails the whole backup; there are never
// the files alone. Settings are read by package php, which never guesses: what only the
// running site knows is an error that names the constant.
package wordpress

import (
	"time"

	"golang.org/x/sync/semaphore"

	"xvault/connectors"
	"xvault/connectors/mysql"
	"xvault/connectors/sftp"
	"xvault/connectors/ssh"
)

// Version goes into manifests; it changes when what is read changes.
const Version = "1"

// Type is the source type "wordpress".
func Type() connectors.Type { return New(Options{}) }

// Options are what tests set otherwise.
type Options struct {
	// SSH tunes the reading of files.
	SSH sftp.Options
	// MySQL tunes the dump.
	MySQL mysql.Options
	// Held is how many bytes of a dump, compressed, one backup keeps in memory while
	// files are read. Default 16 MiB.
	Held int64
	// HeldByAll is the same for all backups of a process together. Default 48 MiB.
	HeldByAll int64
	// Now tells the time that what is made here is stored under. Default: the clock.
	Now func() time.Time
}

func (o Options) withDefaults() Options {
	if o.Held <= 0 {
		o.Held = 16 << 20
	}
	if o.HeldByAll <= 0 {
		o.HeldByAll = 48 << 20
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// New is the source type "wordpress" with other options than the default.
func New(o Options) connectors.Type {
	o = o.withDefaults()
	parts := parts{files: ssh.New(o.SSH), database: mysql.New(o.MySQL), memory: semaphore.NewWeighted(o.HeldByAll)}
	return connectors.Type{
		Name: "wordpress", Version: Version, Validate: Validate,
		Open: func(config []byte, env connectors.Env) (connectors.Source, error) {
			s, err := open(config, env, o, parts)
			if err != nil {
				return nil, err
			}
			return s, nil
		},
		OpenTarget: func(config []byte, env connectors.Env, opts connectors.TargetOptions) (connectors.Target, error) {
			return openTarget(config, env, o, parts, opts)
		},
		Site:  true,
		Run:   parts.run,
		Drill: parts.database.Drill, // the dump in it is one as of that type
	}
}

// parts are what all sources of the type share.
type parts struct {
	files, database connectors.Type
	memory          *semaphore.Weighted // bytes of dumps that are held
}
