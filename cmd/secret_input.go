package cmd

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/crypto/ssh"
	"golang.org/x/term"

	"xvault/internal/job"
	"xvault/internal/secret"
)

// secretOptions say where a credential's secret comes from. A secret itself is
// never a flag: others on the machine can read command lines.
type secretOptions struct {
	passwordFile, privateKeyFile, passphraseFile string
}

const secretHelp = `The secret is read from a file, from standard input ("-"), or typed without being
shown; never from the command line, where others on the machine can read it.`

// maxSecret is far above any key and far below what would hurt.
const maxSecret = 64 << 10

func (o *secretOptions) addFlags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&o.passwordFile, "password-file", "", `file with a password ("-": standard input)`)
	f.StringVar(&o.privateKeyFile, "private-key-file", "", `file with an SSH private key ("-": standard input)`)
	f.StringVar(&o.passphraseFile, "passphrase-file", "", "file with the private key's passphrase")
	c.MarkFlagsMutuallyExclusive("password-file", "private-key-file")
	c.MarkFlagsMutuallyExclusive("password-file", "passphrase-file")
}

// read gives the secret in the form that the hub takes.
func (o *secretOptions) read(c *cobra.Command) ([]byte, error) {
	credential, err := o.credential(c)
	if err != nil {
		return nil, err
	}
	return credential.Encode()
}

func (o *secretOptions) credential(c *cobra.Command) (job.Credential, error) {
	if o.privateKeyFile != "" {
		return o.privateKey(c)
	}
	if o.passphraseFile != "" {
		return job.Credential{}, usagef("--passphrase-file needs --private-key-file")
	}
	var password secret.Text
	var err error
	if o.passwordFile != "" {
		password, err = readSecretFile(c, o.passwordFile)
	} else {
		password, err = prompt(c, "Password: ")
	}
	if err != nil {
		return job.Credential{}, err
	}
	if password.IsZero() {
		return job.Credential{}, usagef("the password is empty")
	}
	return job.Credential{Type: "password", Password: password}, nil
}

// privateKey reads a key and makes sure that it opens, so that a wrong
// passphrase shows now and not in the night.
func (o *secretOptions) privateKey(c *cobra.Command) (job.Credential, error) {
	pem, err := readSecretFile(c, o.privateKeyFile)
	if err != nil {
		return job.Credential{}, err
	}
	credential := job.Credential{Type: "private_key", PrivateKey: secret.New(pem.Reveal() + "\n")}
	if o.passphraseFile != "" {
		if credential.Passphrase, err = readSecretFile(c, o.passphraseFile); err != nil {
			return job.Credential{}, err
		}
	}
	err = checkPrivateKey(credential)
	if _, ok := errors.AsType[*ssh.PassphraseMissingError](err); ok {
		if credential.Passphrase, err = prompt(c, "Passphrase of the key: "); err != nil {
			return job.Credential{}, err
		}
		err = checkPrivateKey(credential)
	}
	if err != nil {
		return job.Credential{}, usagef("%s holds no usable SSH private key: %w", o.privateKeyFile, err)
	}
	return credential, nil
}

func checkPrivateKey(c job.Credential) error {
	pem := []byte(c.PrivateKey.Reveal())
	if c.Passphrase.IsZero() {
		_, err := ssh.ParseRawPrivateKey(pem)
		return err
	}
	_, err := ssh.ParseRawPrivateKeyWithPassphrase(pem, []byte(c.Passphrase.Reveal()))
	return err
}

// readSecretFile reads a file without the line end that editors put there.
func readSecretFile(c *cobra.Command, path string) (secret.Text, error) {
	in := c.InOrStdin()
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return secret.Text{}, fmt.Errorf("read secret: %w", err)
		}
		defer f.Close() // only read from
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, maxSecret+1))
	if err != nil {
		return secret.Text{}, fmt.Errorf("read secret: %w", err)
	}
	if len(b) > maxSecret {
		return secret.Text{}, usagef("%s is larger than %d bytes: this is no password and no key", path, maxSecret)
	}
	return secret.New(string(bytes.TrimRight(b, "\r\n"))), nil
}

// prompt asks a person at a terminal.
func prompt(c *cobra.Command, question string) (secret.Text, error) {
	in, ok := c.InOrStdin().(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		return secret.Text{}, usagef("there is no terminal to ask at: give --password-file or --private-key-file (\"-\" is standard input)")
	}
	if _, err := fmt.Fprint(c.ErrOrStderr(), question); err != nil {
		return secret.Text{}, err
	}
	typed, err := readHidden(c, int(in.Fd()))
	if _, printErr := fmt.Fprintln(c.ErrOrStderr()); err == nil {
		err = printErr
	}
	return typed, err
}

// readHidden reads a line that is not shown. An interrupt gives the terminal
// back as it was; the reader is left behind, for the process ends then.
func readHidden(c *cobra.Command, fd int) (secret.Text, error) {
	before, err := term.GetState(fd)
	if err != nil {
		return secret.Text{}, fmt.Errorf("read from the terminal: %w", err)
	}
	type line struct {
		text []byte
		err  error
	}
	read := make(chan line, 1)
	go func() {
		b, err := term.ReadPassword(fd)
		read <- line{b, err}
	}()
	select {
	case l := <-read:
		if l.err != nil {
			return secret.Text{}, fmt.Errorf("read from the terminal: %w", l.err)
		}
		return secret.New(string(l.text)), nil
	case <-c.Context().Done():
		return secret.Text{}, errors.Join(errInterrupted, term.Restore(fd, before))
	}
}
