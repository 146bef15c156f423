// Package ssh is the source type "ssh": a server that lets its user run
// commands as well. It is read as package sftp tells, with the help of the
// server's find and tar where there are any.
package ssh

import (
	"xvault/connectors"
	"xvault/connectors/sftp"
)

// Version goes into manifests; it changes when what is read changes. Since 2 times
// have nanoseconds and hard links are links, where the server's shell tells.
const Version = "2"

// Type is the source type "ssh".
func Type() connectors.Type { return New(sftp.Options{}) }

// New is the source type "ssh" with other options than the default.
func New(o sftp.Options) connectors.Type {
	o.Shell = true
	t := sftp.New(o)
	t.Name, t.Version = "ssh", Version
	return t
}
