// Package sftp reads the files of a server over SFTP, the one protocol that
// every SSH server speaks without anything being installed on it.
package sftp

import "xvault/connectors"

// Version goes into manifests; it changes when what is read changes.
const Version = "1"

// Type is the source type "sftp".
func Type() connectors.Type {
	return connectors.Type{Name: "sftp", Version: Version, Validate: Validate}
}
