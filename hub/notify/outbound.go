package notify

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/textproto"
	"strings"
	"time"

	"xvault/connectors"
)

// sender sends a message through one channel. It makes one attempt, within ctx.
type sender interface {
	send(ctx context.Context, m Message) error
}

// refusal is an answer of a receiver, or a reason of ours, that is fit to be
// shown.
type refusal string

func (r refusal) Error() string { return string(r) }

// reason says why an attempt failed, in words that hold no address, no secret
// and nothing that the receiver wrote.
func reason(err error) string {
	var refused refusal
	var forbidden *connectors.ForbiddenAddressError
	var lookup *net.DNSError
	var certificate *tls.CertificateVerificationError
	var unknown x509.UnknownAuthorityError
	var record tls.RecordHeaderError
	var smtp *textproto.Error
	var network *net.OpError
	switch {
	case errors.As(err, &refused):
		return string(refused)
	case errors.As(err, &forbidden):
		return "This hub may not connect to that address."
	case errors.As(err, &lookup):
		return "The host's name cannot be resolved."
	case errors.As(err, &certificate), errors.As(err, &unknown):
		return "The receiver's certificate is not valid for its name, or not from an authority that this hub trusts."
	case errors.As(err, &record), strings.Contains(err.Error(), "HTTP response to HTTPS client"):
		return "The receiver does not speak TLS there."
	case errors.As(err, &smtp):
		return fmt.Sprintf("The mail server refused with code %d.", smtp.Code)
	case errors.Is(err, context.DeadlineExceeded), isTimeout(err):
		return "The receiver did not answer in time."
	case errors.As(err, &network) && network.Op == "dial":
		return "The receiver cannot be reached."
	}
	return "The connection broke, or the receiver's answer is not what it should be."
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

// outbound makes connections.
type outbound struct {
	dial  connectors.Dialer
	roots *x509.CertPool // nil: the system's
}

func (o outbound) tls(server string) *tls.Config {
	return &tls.Config{ServerName: server, RootCAs: o.roots, MinVersion: tls.VersionTLS12}
}

// errPlain keeps what goes in clear inside one's own network.
const errPlain = refusal("Without TLS, only receivers in the hub's own network are told; use an address with TLS.")

// plain connects for what is sent in clear.
func (o outbound) plain(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := o.dial.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	peer, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	if err != nil || !peer.Addr().Unmap().IsLoopback() && !peer.Addr().Unmap().IsPrivate() {
		return nil, errors.Join(errPlain, conn.Close())
	}
	return conn, nil
}

const (
	maxAnswer = 4 << 10 // nobody reads it
	userAgent = "xvault"
)

// do makes one HTTP request. It follows no redirect, uses no proxy and keeps no
// connection; any 2xx is success.
func (o outbound) do(req *http.Request) error {
	transport := &http.Transport{
		DialContext: o.dial.DialContext, DisableKeepAlives: true, TLSHandshakeTimeout: dialTimeout, ResponseHeaderTimeout: 15 * time.Second,
		MaxResponseHeaderBytes: 16 << 10, TLSClientConfig: o.tls(""),
	}
	if req.URL.Scheme == "http" {
		transport.DialContext = o.plain
	}
	defer transport.CloseIdleConnections()
	client := &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	req.Header.Set("User-Agent", userAgent)
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	_, readErr := io.Copy(io.Discard, io.LimitReader(res.Body, maxAnswer))
	closeErr := res.Body.Close()
	switch {
	case res.StatusCode >= 300 && res.StatusCode < 400:
		return refusal(fmt.Sprintf("The receiver redirects elsewhere (HTTP %d); give the address that it leads to.", res.StatusCode))
	case res.StatusCode < 200 || res.StatusCode > 299:
		return refusal(fmt.Sprintf("The receiver answered HTTP %d.", res.StatusCode))
	}
	// The status has been said: how the rest of the answer ends changes nothing.
	_, _ = readErr, closeErr
	return nil
}
