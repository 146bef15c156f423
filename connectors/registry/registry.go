// Package registry lists the source types that xVault supports: the one place
// where a connector is registered.
package registry

import (
	"xvault/connectors"
	"xvault/connectors/ftp"
	"xvault/connectors/mysql"
	"xvault/connectors/postgres"
	"xvault/connectors/sftp"
	"xvault/connectors/ssh"
	"xvault/connectors/wordpress"
)

// All gives every source type of this version.
func All() *connectors.Registry {
	return connectors.NewRegistry(sftp.Type(), ssh.Type(), ftp.Type(), mysql.Type(), postgres.Type(), wordpress.Type())
}
