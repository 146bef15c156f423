package postgres

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/netip"
)

// attempt is one way to open a connection.
type attempt struct {
	tls *tls.Config // nil: without TLS
	// requireAuth is pgconn's word for the ways to log in that are acceptable.
	requireAuth string
}

// noClearPassword keeps a password from being sent as it is.
const noClearPassword = "!password"

// attempts are the ways to connect, the next of which is tried where the server
// refuses one. A server, or whoever is in between, that refuses TLS does not get to
// see a password in the clear by that.
func (c Config) attempts() ([]attempt, error) {
	plain := attempt{requireAuth: noClearPassword}
	if c.SSLMode == Disable {
		return []attempt{{}}, nil
	}
	secured, err := c.tlsConfig()
	if err != nil {
		return nil, err
	}
	switch c.SSLMode {
	case Allow:
		return []attempt{plain, {tls: secured}}, nil
	case Prefer:
		return []attempt{{tls: secured}, plain}, nil
	default:
		return []attempt{{tls: secured}}, nil
	}
}

func (c Config) tlsConfig() (*tls.Config, error) {
	t := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CAPEM != "" {
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM([]byte(c.CAPEM)) {
			return nil, errors.New("ca_pem holds no certificate")
		}
	}
	if _, err := netip.ParseAddr(c.Host); err != nil || c.SSLMode == VerifyFull {
		t.ServerName = c.Host
	}
	switch {
	case c.SSLMode == VerifyFull:
	case c.SSLMode == VerifyCA, c.SSLMode == Require && c.CAPEM != "":
		// As with libpq, "require" with an authority is "verify-ca": the chain is
		// checked, the name is not.
		t.InsecureSkipVerify = true // VerifyConnection does it
		t.VerifyConnection = verifyChain(t.RootCAs)
	default:
		t.InsecureSkipVerify = true // what these modes mean
	}
	return t, nil
}

// verifyChain checks that a certificate comes from one of the authorities, whatever
// name is in it.
func verifyChain(roots *x509.CertPool) func(tls.ConnectionState) error {
	return func(state tls.ConnectionState) error {
		if len(state.PeerCertificates) == 0 {
			return errors.New("the server showed no certificate")
		}
		opts := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool()}
		for _, cert := range state.PeerCertificates[1:] {
			opts.Intermediates.AddCert(cert)
		}
		_, err := state.PeerCertificates[0].Verify(opts)
		if err != nil {
			return &tls.CertificateVerificationError{UnverifiedCertificates: state.PeerCertificates, Err: err}
		}
		return nil
	}
}
