package sshconn

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
)

// Pin is one host key that a server may show: the key itself, or its
// fingerprint alone.
type Pin struct {
	key         ssh.PublicKey // nil where only the fingerprint is known
	fingerprint string        // "SHA256:..."
}

const fingerprintPrefix = "SHA256:"

// ParsePin reads a public key line or a fingerprint.
func ParsePin(text string) (Pin, error) {
	text = strings.TrimSpace(text)
	if digest, ok := strings.CutPrefix(text, fingerprintPrefix); ok {
		return parseFingerprint(digest)
	}
	if text == "" {
		return Pin{}, errors.New("must not be empty")
	}
	fields := strings.Fields(text)
	if len(fields) < 2 {
		return Pin{}, errors.New(`must be a public key line ("ssh-ed25519 AAAA...") or a fingerprint ("SHA256:...")`)
	}
	blob, err := base64.StdEncoding.DecodeString(fields[1])
	if err != nil {
		return Pin{}, errors.New(`must be a public key line ("ssh-ed25519 AAAA...", without a host name before it) or a fingerprint ("SHA256:...")`)
	}
	key, err := ssh.ParsePublicKey(blob)
	if err != nil || key.Type() != fields[0] {
		return Pin{}, errors.New("is not a public key of the type that it names")
	}
	if _, ok := key.(*ssh.Certificate); ok {
		return Pin{}, errors.New("is a certificate; give the host's plain public key")
	}
	return pinOf(key), nil
}

func parseFingerprint(digest string) (Pin, error) {
	digest = strings.TrimRight(digest, "=")
	b, err := base64.RawStdEncoding.Strict().DecodeString(digest)
	if err != nil || len(b) != sha256.Size {
		return Pin{}, errors.New(`is not a fingerprint as "ssh-keygen -l" prints it ("SHA256:" and 43 characters)`)
	}
	return Pin{fingerprint: fingerprintPrefix + digest}, nil
}

func pinOf(key ssh.PublicKey) Pin { return Pin{key, ssh.FingerprintSHA256(key)} }

// String is the canonical form, which ParsePin reads back.
func (p Pin) String() string {
	if p.key == nil {
		return p.fingerprint
	}
	return KeyLine(p.key)
}

// KeyLine is a public key as one line, without a comment.
func KeyLine(key ssh.PublicKey) string {
	return string(bytes.TrimSpace(ssh.MarshalAuthorizedKey(key)))
}

func (p Pin) matches(key ssh.PublicKey) bool {
	if p.key == nil {
		return p.fingerprint == ssh.FingerprintSHA256(key)
	}
	return bytes.Equal(p.key.Marshal(), key.Marshal())
}

// hostKeyAlgorithms says which kinds of host keys to ask a server for. A server
// has several: asked for all, it may show one that nobody pinned. Where a
// fingerprint is pinned its kind is unknown, so any may come.
func hostKeyAlgorithms(pins []Pin) []string {
	all := []string{
		ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521,
		ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256,
	}
	if len(pins) == 0 {
		return all
	}
	var algorithms []string
	for _, p := range pins {
		switch {
		case p.key == nil:
			return all
		case p.key.Type() == ssh.KeyAlgoRSA:
			// One kind of key, two kinds of signature; SHA-1 is none of them.
			algorithms = append(algorithms, ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256)
		default:
			algorithms = append(algorithms, p.key.Type())
		}
	}
	slices.Sort(algorithms)
	return slices.Compact(algorithms)
}
