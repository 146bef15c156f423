package api

import (
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/danielgtaylor/huma/v2"
	"golang.org/x/crypto/ssh"

	"xvault/hub/problem"
	"xvault/internal/job"
	"xvault/internal/secret"
)

// secretText is a secret in a request's body.
type secretText struct{ secret.Text }

// Schema describes it in OpenAPI.
func (secretText) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Format: "password", WriteOnly: true}
}

const (
	maxPassword   = 4 << 10
	maxPrivateKey = 64 << 10
)

// Types of a source's secret.
const (
	secretPassword   = "password"
	secretPrivateKey = "private_key"
)

// CredentialSecret is the secret of a credential, as it is sent; no call
// returns one.
type CredentialSecret struct {
	Type       string     `json:"type" enum:"password,private_key"`
	Password   secretText `json:"password,omitzero" doc:"With type password"`
	PrivateKey secretText `json:"private_key,omitzero" doc:"With type private_key: PEM"`
	Passphrase secretText `json:"passphrase,omitzero" doc:"With type private_key, where the key has one"`
}

// credential checks the secret that stands at a place of the body. Its errors
// name fields and hold nothing of their content.
func (in CredentialSecret) credential(at string) (job.Credential, error) {
	if in.Type == secretPassword {
		return in.password(at)
	}
	return in.privateKey(at)
}

func (in CredentialSecret) password(at string) (job.Credential, error) {
	switch n := len(in.Password.Reveal()); {
	case n == 0:
		return job.Credential{}, problem.Field(at+".password", "it is required with type password")
	case n > maxPassword:
		return job.Credential{}, problem.Field(at+".password", fmt.Sprintf("it is longer than %d bytes", maxPassword))
	case !in.PrivateKey.IsZero():
		return job.Credential{}, problem.Field(at+".private_key", "it does not go with type password")
	case !in.Passphrase.IsZero():
		return job.Credential{}, problem.Field(at+".passphrase", "it does not go with type password")
	}
	return job.Credential{Type: secretPassword, Password: in.Password.Text}, nil
}

func (in CredentialSecret) privateKey(at string) (job.Credential, error) {
	switch n := len(in.PrivateKey.Reveal()); {
	case n == 0:
		return job.Credential{}, problem.Field(at+".private_key", "it is required with type private_key")
	case n > maxPrivateKey:
		return job.Credential{}, problem.Field(at+".private_key", fmt.Sprintf("it is longer than %d bytes", maxPrivateKey))
	case !in.Password.IsZero():
		return job.Credential{}, problem.Field(at+".password", "it does not go with type private_key")
	}
	c := job.Credential{Type: secretPrivateKey, PrivateKey: in.PrivateKey.Text}
	pem := []byte(in.PrivateKey.Reveal())
	_, err := ssh.ParseRawPrivateKey(pem)
	if err == nil {
		return c, nil // a passphrase that the key does not need is dropped
	}
	if _, encrypted := errors.AsType[*ssh.PassphraseMissingError](err); !encrypted {
		return job.Credential{}, problem.Field(at+".private_key", "it is not a private key in PEM form that OpenSSH reads (a public key begins with ssh-)")
	}
	if in.Passphrase.IsZero() {
		return job.Credential{}, problem.Field(at+".passphrase", "the private key is encrypted: give its passphrase")
	}
	c.Passphrase = in.Passphrase.Text
	return c, checkPassphrase(at, pem, in.Passphrase.Text)
}

func checkPassphrase(at string, pem []byte, passphrase secret.Text) error {
	_, err := ssh.ParseRawPrivateKeyWithPassphrase(pem, []byte(passphrase.Reveal()))
	switch {
	case err == nil:
		return nil
	case errors.Is(err, x509.IncorrectPasswordError):
		return problem.Field(at+".passphrase", "it does not open the private key")
	}
	return problem.Field(at+".private_key", "it is encrypted in a way that is not supported; convert it with ssh-keygen -p")
}
