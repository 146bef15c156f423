// Package ssh is the source type "ssh": a server that lets its user run
// commands as well. Reading goes over SFTP, exactly as the type "sftp" does it.
package ssh

import (
	"xvault/connectors"
	"xvault/connectors/sftp"
)

// Type is the source type "ssh".
func Type() connectors.Type { return New(sftp.Options{}) }

// New is the source type "ssh" with other options than the default.
func New(o sftp.Options) connectors.Type {
	o.Shell = true
	t := sftp.New(o)
	t.Name = "ssh"
	return t
}
