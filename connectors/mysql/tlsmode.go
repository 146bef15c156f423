package mysql

import (
	"crypto/tls"
	"crypto/x509"
	"errors"

	"xvault/connectors"
)

// TLSMode says how a connection is protected.
type TLSMode string

// The modes.
const (
	// TLSDisabled never encrypts.
	TLSDisabled TLSMode = "disabled"
	// TLSPreferred encrypts where the server offers it. The default: the servers of
	// many do not, and without it nothing would be backed up there until somebody
	// said so. Whoever sits on the line can turn it off, and the job's log and the
	// probe say what is in use.
	TLSPreferred TLSMode = "preferred"
	// TLSRequired encrypts or fails, with whoever answers.
	TLSRequired TLSMode = "required"
	// TLSVerifyCA also wants a certificate that an authority signed, for any name.
	TLSVerifyCA TLSMode = "verify_ca"
	// TLSVerifyIdentity also wants the host's name in it. The default where an
	// authority is configured.
	TLSVerifyIdentity TLSMode = "verify_identity"
)

// maxCA bounds the text of the authorities.
const maxCA = 256 << 10

// tlsFields reads the mode and the authorities. A socket needs no TLS.
func tlsFields(f *connectors.Fields, socket bool) (TLSMode, string) {
	ca := f.OptionalText("ca_pem", "")
	missing := TLSPreferred
	switch {
	case ca != "":
		missing = TLSVerifyIdentity
	case socket:
		missing = TLSDisabled
	}
	mode := TLSMode(f.OneOf("tls", string(missing), string(TLSDisabled), string(TLSPreferred), string(TLSRequired), string(TLSVerifyCA), string(TLSVerifyIdentity)))
	switch {
	case ca == "" || f.Wrong("tls"):
	case len(ca) > maxCA:
		f.Fault("ca_pem", "must be at most %d bytes long", maxCA)
	case !mode.verifies():
		f.Fault("ca_pem", "has an effect with tls verify_ca or verify_identity only")
	case !x509.NewCertPool().AppendCertsFromPEM([]byte(ca)):
		f.Fault("ca_pem", "holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)")
	}
	return mode, ca
}

func (m TLSMode) verifies() bool { return m == TLSVerifyCA || m == TLSVerifyIdentity }

// must reports whether a connection without TLS is refused.
func (m TLSMode) must() bool { return m == TLSRequired || m.verifies() }

// tlsConfig is what the mode asks of a server; nil: no TLS.
func (c Config) tlsConfig() (*tls.Config, error) {
	if c.TLS == TLSDisabled {
		return nil, nil //nolint:nilnil // it is what it says
	}
	var roots *x509.CertPool // nil: the system's
	if c.CAPEM != "" {
		roots = x509.NewCertPool()
		if !roots.AppendCertsFromPEM([]byte(c.CAPEM)) {
			return nil, errors.New("ca_pem holds no certificate")
		}
	}
	t := &tls.Config{ServerName: c.Host, RootCAs: roots, MinVersion: tls.VersionTLS12}
	if c.TLS == TLSVerifyIdentity {
		return t, nil
	}
	t.InsecureSkipVerify = true // the mode says so; verify_ca checks by itself
	if c.TLS == TLSVerifyCA {
		t.VerifyConnection = func(s tls.ConnectionState) error { return verifyChain(s, roots) }
	}
	return t, nil
}

// verifyChain checks who signed a certificate, and not for whom.
func verifyChain(s tls.ConnectionState, roots *x509.CertPool) error {
	if len(s.PeerCertificates) == 0 {
		return errors.New("the server showed no certificate")
	}
	between := x509.NewCertPool()
	for _, c := range s.PeerCertificates[1:] {
		between.AddCert(c)
	}
	_, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between})
	if err != nil {
		return &tls.CertificateVerificationError{UnverifiedCertificates: s.PeerCertificates, Err: err}
	}
	return nil
}
