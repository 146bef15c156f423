package sshconn

import (
	"errors"
	"net"
	"os"
	"strings"
	"syscall"

	"golang.org/x/crypto/ssh"

	"xvault/connectors"
	"xvault/internal/job"
)

func hostKeyUnknown(key ssh.PublicKey) error {
	return job.Errorf(job.HostKeyUnknown,
		"the server's host key is not known yet, so nothing was sent to it. It showed %s (%s). Compare that with what `ssh-keygen -lf /etc/ssh/ssh_host_%s_key.pub` prints on the server; if they are equal, add it to host_keys, or set trust_on_first_use",
		ssh.FingerprintSHA256(key), key.Type(), keyFile(key))
}

func hostKeyChanged(key ssh.PublicKey) error {
	return job.Errorf(job.HostKeyChanged,
		"the server showed a host key that is not the pinned one: %s (%s). Nothing was sent to it. If the server was reinstalled on purpose, pin the new key in host_keys; if not, somebody may be in between",
		ssh.FingerprintSHA256(key), key.Type())
}

// keyFile is how OpenSSH names the files of a kind of key.
func keyFile(key ssh.PublicKey) string {
	switch key.Type() {
	case ssh.KeyAlgoED25519:
		return "ed25519"
	case ssh.KeyAlgoRSA:
		return "rsa"
	default:
		return "ecdsa"
	}
}

// explain turns an error of dialing or of the handshake into one for people.
func (c *connector) explain(err error, h *handshake) error {
	var done *job.Error
	if h.refusal != nil {
		if errors.As(h.refusal, &done) {
			return done
		}
		return job.Errorf(job.Internal, "the server's host key could not be pinned: %w", h.refusal)
	}
	if errors.As(err, &done) {
		return done
	}
	if h.accepted != nil && c.login.tried.Load() && isRefusal(err) {
		return job.Errorf(job.AuthFailed, "the server does not let %q in with %s; check the username and the credential, and that the account may log in: %w",
			c.Username, c.login.what, Quoted(err))
	}
	if h.accepted != nil && strings.Contains(err.Error(), "unable to authenticate") {
		return job.Errorf(job.AuthFailed, "the server does not accept %s at all for %q: %w", c.login.what, c.Username, Quoted(err))
	}
	return c.explainConnect(err)
}

// isRefusal: the library has no type for a refused login.
func isRefusal(err error) bool {
	text := err.Error()
	return strings.Contains(text, "unable to authenticate") || strings.Contains(text, "ssh: disconnect") ||
		strings.Contains(text, "authentication attempts") || errors.Is(err, errPrompt)
}

func (c *connector) explainConnect(err error) error {
	where := c.address
	var forbidden *connectors.ForbiddenAddressError
	var name *net.DNSError
	switch {
	case errors.As(err, &forbidden):
		return job.Errorf(job.ConfigInvalid, "%q: %w", c.Host, forbidden)
	case errors.As(err, &name):
		return job.Errorf(job.ConnectFailed, "the name %q cannot be resolved; check the host's spelling and the worker's DNS: %w", c.Host, name)
	case errors.Is(err, syscall.ECONNREFUSED):
		return job.Errorf(job.ConnectFailed, "%s refuses connections; check the port, and that an SSH server runs there: %w", where, Quoted(err))
	case errors.Is(err, os.ErrDeadlineExceeded) || isTimeout(err):
		return job.Errorf(job.ConnectFailed, "%s does not answer; check the address and any firewall in between: %w", where, Quoted(err))
	case errors.Is(err, syscall.EHOSTUNREACH) || errors.Is(err, syscall.ENETUNREACH):
		return job.Errorf(job.ConnectFailed, "%s cannot be reached from this worker: %w", where, Quoted(err))
	default:
		return job.Errorf(job.ConnectFailed, "no SSH connection to %s: %w", where, Quoted(err))
	}
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}
