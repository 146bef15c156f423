package sshconn

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"xvault/internal/secret"
)

// NewKey makes a key pair for logging in: the private half as PEM, in OpenSSH's
// format, and the public one.
func NewKey(comment string) (secret.Text, ssh.PublicKey, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return secret.Text{}, nil, fmt.Errorf("make key: %w", err)
	}
	block, err := ssh.MarshalPrivateKey(private, comment)
	if err != nil {
		return secret.Text{}, nil, fmt.Errorf("encode key: %w", err)
	}
	line, err := ssh.NewPublicKey(public)
	if err != nil {
		return secret.Text{}, nil, fmt.Errorf("encode key: %w", err)
	}
	return secret.New(string(pem.EncodeToMemory(block))), line, nil
}

// Permit is what a server lets a key do: options of its line in authorized_keys, in
// OpenSSH's words (sshd(8), "AUTHORIZED_KEYS FILE FORMAT").
type Permit []string

// PermitReading lets a key read files over SFTP, and nothing else.
func PermitReading() Permit { return Permit{"restrict", `command="internal-sftp -R"`} }

// PermitSite lets a key read files over SFTP, and reach from the server what that
// reaches, its database above all.
func PermitSite() Permit {
	return Permit{"restrict", "port-forwarding", `command="internal-sftp -R"`}
}

// PermitPrograms lets a key run programs, as find and tar, without a terminal or a
// tunnel.
func PermitPrograms() Permit { return Permit{"restrict"} }

// PermitSitePrograms lets a key run programs as PermitPrograms does, and reach what
// PermitSite lets it reach.
func PermitSitePrograms() Permit { return Permit{"restrict", "port-forwarding"} }

// PermitTunnel lets a key reach one address from the server, and nothing else.
func PermitTunnel(address string) Permit {
	return Permit{"restrict", "port-forwarding", `permitopen="` + address + `"`, `command="/bin/false"`}
}

// From narrows a permit to clients at these addresses, networks or host patterns,
// separated by commas; empty: any.
func (p Permit) From(addresses string) Permit {
	if addresses == "" {
		return p
	}
	return append(slices.Clip(p), `from="`+addresses+`"`)
}

// Line is the line of authorized_keys that gives the permit to a key.
func (p Permit) Line(key ssh.PublicKey, comment string) string {
	return strings.Join(p, ",") + " " + KeyLine(key) + " " + comment
}
