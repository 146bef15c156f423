package devenv

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"fmt"
	"strings"

	"golang.org/x/crypto/ssh"
)

// HostKey is the public half of a server's key.
type HostKey struct {
	Line        string // "ssh-ed25519 AAAA..."
	Fingerprint string // "SHA256:..."
}

type newKey struct {
	HostKey
	private []byte // PEM
}

// newHostKey makes a key of the kind "ed25519", "ecdsa" or "rsa".
func newHostKey(kind string) (newKey, error) {
	signer, err := newPrivateKey(kind)
	if err != nil {
		return newKey{}, fmt.Errorf("make %s key: %w", kind, err)
	}
	public, err := ssh.NewPublicKey(signer.Public())
	if err != nil {
		return newKey{}, fmt.Errorf("make %s key: %w", kind, err)
	}
	block, err := ssh.MarshalPrivateKey(signer, "")
	if err != nil {
		return newKey{}, fmt.Errorf("make %s key: %w", kind, err)
	}
	return newKey{HostKey{publicLine(public), ssh.FingerprintSHA256(public)}, pem.EncodeToMemory(block)}, nil
}

func newPrivateKey(kind string) (crypto.Signer, error) {
	switch kind {
	case "ed25519":
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	case "ecdsa":
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "rsa":
		return rsa.GenerateKey(rand.Reader, 2048)
	default:
		return nil, fmt.Errorf("unknown kind of key %q", kind)
	}
}

func publicLine(key ssh.PublicKey) string {
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
}

type clientKey struct {
	plain, public string
	// lock puts the key under a passphrase, which takes a second with the race
	// detector.
	lock func() (lockedKey, error)
}

type lockedKey struct{ pem, passphrase string }

func newClientKey() (clientKey, error) {
	signer, err := newPrivateKey("ed25519")
	if err != nil {
		return clientKey{}, err
	}
	public, err := ssh.NewPublicKey(signer.Public())
	if err != nil {
		return clientKey{}, err
	}
	plain, err := ssh.MarshalPrivateKey(signer, "")
	if err != nil {
		return clientKey{}, err
	}
	lock := func() (lockedKey, error) {
		passphrase := rand.Text()
		locked, err := ssh.MarshalPrivateKeyWithPassphrase(signer, "", []byte(passphrase))
		if err != nil {
			return lockedKey{}, fmt.Errorf("put the client's key under a passphrase: %w", err)
		}
		return lockedKey{string(pem.EncodeToMemory(locked)), passphrase}, nil
	}
	return clientKey{string(pem.EncodeToMemory(plain)), publicLine(public), lock}, nil
}
