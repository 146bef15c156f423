package worker

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"xvault/internal/certfile"
	"xvault/internal/loopback"
	"xvault/store/blob"
	"xvault/worker/download"
)

// downloads is the worker's own listener. Backups do not depend on it: where its
// address is taken, by the process that this one replaces perhaps, it waits.
type downloads struct {
	cfg    Config
	keys   atomic.Pointer[[]ed25519.PublicKey]
	server *http.Server
	tls    *tls.Config
	log    *slog.Logger

	mu       sync.Mutex
	listener net.Listener
	closed   bool
}

// Limits of the listener. How long an answer may take is each transfer's own
// affair.
const (
	downloadHeaderFor = 10 * time.Second
	downloadIdleFor   = 2 * time.Minute
	downloadHeaderMax = 128 << 10 // a cursor is as long as a path
	listenAgain       = time.Second
)

func validListen(addr string) bool {
	if addr == "" {
		return true
	}
	_, _, err := net.SplitHostPort(addr)
	return err == nil
}

func newDownloads(w *Worker) (*downloads, error) {
	d := &downloads{cfg: w.cfg, log: w.log}
	d.keys.Store(&[]ed25519.PublicKey{})
	if w.cfg.ListenAddr == "" {
		return d, nil
	}
	if w.cfg.TLSCertFile != "" {
		cert, err := certfile.Open(w.cfg.TLSCertFile, w.cfg.TLSKeyFile, w.log)
		if err != nil {
			return nil, err
		}
		d.tls = cert.Config()
	}
	handler := download.New(download.Config{
		WorkerID: w.id, Identity: w.identity, Redeem: w.hub.Redeem,
		Keys:           func() []ed25519.PublicKey { return *d.keys.Load() },
		Store:          func() (blob.Store, error) { return w.storage.current() },
		Budget:         w.budget,
		AllowPlainHTTP: w.cfg.AllowPlainHTTP, Transfers: w.cfg.Downloads, Now: w.cfg.Now, Log: w.log,
	})
	d.server = &http.Server{
		Handler: handler, TLSConfig: d.tls, ReadHeaderTimeout: downloadHeaderFor, ReadTimeout: downloadHeaderFor,
		IdleTimeout: downloadIdleFor, MaxHeaderBytes: downloadHeaderMax,
		ErrorLog: slog.NewLogLogger(w.log.Handler(), slog.LevelDebug),
	}
	return d, nil
}

// listen takes the address if it can be had.
func (d *downloads) listen() {
	if d.server == nil {
		return
	}
	if err := d.tryListen(); err != nil {
		d.log.Warn("downloads cannot be served yet; it is tried again", "address", d.cfg.ListenAddr, "error", err)
	}
}

func (d *downloads) tryListen() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed || d.listener != nil {
		return nil
	}
	l, err := net.Listen("tcp", d.cfg.ListenAddr) //nolint:noctx // it does not wait
	if err != nil {
		return err
	}
	d.listener = l
	return nil
}

func (d *downloads) bound() net.Listener {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.listener
}

// publicURL is how people reach this worker; empty where they cannot.
func (d *downloads) publicURL() string {
	switch {
	case d.server == nil:
		return ""
	case d.cfg.PublicURL != "":
		return d.cfg.PublicURL
	}
	addr := d.cfg.ListenAddr
	if l := d.bound(); l != nil {
		_, port, err := net.SplitHostPort(l.Addr().String())
		if host, _, hostErr := net.SplitHostPort(addr); err == nil && hostErr == nil {
			addr = net.JoinHostPort(host, port)
		}
	}
	address := defaultPublicURL(addr, d.tls != nil, d.cfg.AllowPlainHTTP)
	if loopback.Host(hostOf(address)) && !loopback.Host(hostOf(d.cfg.HubURL)) {
		return "" // with the hub elsewhere people are elsewhere, too
	}
	return address
}

func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Hostname()
}

// defaultPublicURL is a listener's address with the host's name where it names
// no host. Without TLS other machines are not served, so that the address is one
// for this machine.
func defaultPublicURL(listen string, secure, plainAllowed bool) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil || port == "0" {
		return ""
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		if host, err = os.Hostname(); err != nil {
			return ""
		}
		if !secure && !plainAllowed {
			host = "127.0.0.1"
		}
	}
	if secure {
		return "https://" + net.JoinHostPort(host, port)
	}
	if !plainAllowed && !loopback.Host(host) {
		return "" // it would refuse everybody who comes to this address
	}
	return "http://" + net.JoinHostPort(host, port)
}

// serve serves until ctx ends, then lets running downloads go on for as long as
// the worker waits for its jobs. Where life ends they are cut off at once.
func (d *downloads) serve(ctx, life context.Context) {
	if d.server == nil || !d.waitListening(ctx, life) {
		return
	}
	d.server.BaseContext = func(net.Listener) context.Context { return life }
	d.announce()
	served := make(chan error, 1)
	go func() {
		if d.tls != nil {
			served <- d.server.ServeTLS(d.bound(), "", "")
			return
		}
		served <- d.server.Serve(d.bound())
	}()
	select {
	case err := <-served:
		d.log.Error("downloads are not served any more", "error", err)
		return
	case <-ctx.Done():
	case <-life.Done():
	}
	until, cancel := context.WithTimeout(life, d.cfg.DrainTimeout)
	defer cancel()
	if err := d.server.Shutdown(until); err != nil {
		d.log.Info("running downloads are cut off; they can be taken up again", "reason", err)
		if err := d.server.Close(); err != nil {
			d.log.Warn("close connections of downloads", "error", err)
		}
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		d.log.Error("downloads", "error", err)
	}
}

// waitListening waits for the address; false where the worker ended before.
func (d *downloads) waitListening(ctx, life context.Context) bool {
	for d.bound() == nil {
		if err := d.tryListen(); err == nil {
			return true
		}
		timer := time.NewTimer(listenAgain)
		select {
		case <-timer.C:
		case <-ctx.Done():
		case <-life.Done():
		}
		timer.Stop()
		if ctx.Err() != nil || life.Err() != nil {
			return false
		}
	}
	return true
}

func (d *downloads) announce() {
	d.log.Info("downloads are served", "address", d.bound().Addr().String(), "tls", d.tls != nil, "public_url", d.publicURL())
	switch {
	case d.tls != nil:
	case d.cfg.AllowPlainHTTP:
		d.log.Warn("WORKER_ALLOW_PLAIN_HTTP is set: restored files and the tickets for them are readable by everybody between this worker and who fetches them")
	default:
		d.log.Warn("plain HTTP: downloads are served to this machine only; set WORKER_TLS_CERT_FILE and WORKER_TLS_KEY_FILE for others")
	}
}

// close gives the address free. It may be repeated.
func (d *downloads) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	if d.listener != nil {
		_ = d.listener.Close() // the server has closed it, if it served
	}
}
