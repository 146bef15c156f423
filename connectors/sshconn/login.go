package sshconn

import (
	"crypto/x509"
	"errors"
	"strings"
	"sync/atomic"

	"golang.org/x/crypto/ssh"

	"xvault/internal/job"
)

// login is how a connection authenticates, and whether it came so far.
type login struct {
	methods []ssh.AuthMethod
	what    string      // for messages: "the private key", "the password"
	tried   atomic.Bool // a credential was offered to the server
}

// newLogin turns a credential into authentication methods.
func newLogin(c job.Credential) (*login, error) {
	switch c.Type {
	case "private_key":
		signer, err := parsePrivateKey(c)
		if err != nil {
			return nil, err
		}
		l := &login{what: "the private key"}
		l.methods = []ssh.AuthMethod{ssh.PublicKeysCallback(func() ([]ssh.Signer, error) {
			l.tried.Store(true)
			return []ssh.Signer{signer}, nil
		})}
		return l, nil
	case "password":
		l := &login{what: "the password"}
		l.methods = []ssh.AuthMethod{
			ssh.PasswordCallback(func() (string, error) {
				l.tried.Store(true)
				return c.Password.Reveal(), nil
			}),
			ssh.KeyboardInteractive(l.answer(c)),
		}
		return l, nil
	default:
		return nil, job.Errorf(job.ConfigInvalid, "a credential of type %q cannot log in over SSH; give the source a private key or a password", c.Type)
	}
}

var errPrompt = errors.New("the server asks for more than a password")

// answer gives the password to the one hidden question that servers ask in
// place of password authentication. It is not given to any other question.
func (l *login) answer(c job.Credential) ssh.KeyboardInteractiveChallenge {
	return func(_, _ string, questions []string, echos []bool) ([]string, error) {
		switch {
		case len(questions) == 0:
			return nil, nil
		case len(questions) > 1 || echos[0]:
			return nil, errPrompt
		}
		l.tried.Store(true)
		return []string{c.Password.Reveal()}, nil
	}
}

func parsePrivateKey(c job.Credential) (ssh.Signer, error) {
	pem := []byte(c.PrivateKey.Reveal())
	signer, err := ssh.ParsePrivateKey(pem)
	var locked *ssh.PassphraseMissingError
	switch {
	case err == nil:
		return signer, nil
	case !errors.As(err, &locked):
		return nil, badKey(string(pem))
	case c.Passphrase.IsZero():
		return nil, job.Errorf(job.AuthFailed, "the private key is protected by a passphrase; add the passphrase to the credential")
	}
	signer, err = ssh.ParsePrivateKeyWithPassphrase(pem, []byte(c.Passphrase.Reveal()))
	switch {
	case err == nil:
		return signer, nil
	case errors.Is(err, x509.IncorrectPasswordError):
		return nil, job.Errorf(job.AuthFailed, "the passphrase does not open the private key; correct it in the credential")
	default:
		return nil, badKey(string(pem))
	}
}

// badKey never carries the parser's own error: it might quote the key.
func badKey(pem string) error {
	hint := `it must be a PEM block as ssh-keygen writes it, from "-----BEGIN" to "-----END"`
	switch {
	case strings.Contains(pem, "PuTTY-User-Key-File"):
		hint = "it is a PuTTY key; export it as an OpenSSH key in PuTTYgen"
	case strings.Contains(pem, "BEGIN ENCRYPTED PRIVATE KEY"):
		hint = `rewrite it in OpenSSH's own format with "ssh-keygen -p -f FILE"`
	case strings.HasPrefix(pem, "ssh-") || strings.HasPrefix(pem, "ecdsa-") || strings.Contains(pem, "PUBLIC KEY"):
		hint = "it is the public half; the private half is the file without .pub"
	}
	return job.Errorf(job.ConfigInvalid, "the credential's private key cannot be read: %s", hint)
}
