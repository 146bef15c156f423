// Package certfile serves a TLS certificate that stands in files and may be
// renewed at any time.
package certfile

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// Certificate is read again when its files change. It is safe for concurrent use.
type Certificate struct {
	certFile, keyFile string
	log               *slog.Logger

	mu     sync.Mutex
	loaded *tls.Certificate
	stamp  stamp
}

// stamp tells whether the files are still those that were loaded.
type stamp struct{ cert, key fileStamp }

type fileStamp struct {
	modified time.Time
	size     int64
}

// Open reads a PEM certificate chain and its key.
func Open(certFile, keyFile string, log *slog.Logger) (*Certificate, error) {
	c := &Certificate{certFile: certFile, keyFile: keyFile, log: log}
	now, err := c.stampNow()
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	return c, c.load(now)
}

// Config is a server's TLS configuration with this certificate.
func (c *Certificate) Config() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: c.get}
}

// get gives the certificate for a handshake. Where the files changed they are
// read again; where that fails, as in the middle of a renewal, the last good
// one serves on.
func (c *Certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now, err := c.stampNow()
	if err == nil && now != c.stamp {
		if err = c.load(now); err == nil {
			c.log.Info("certificate read again", "file", c.certFile)
		}
	}
	if err != nil {
		c.log.Warn("the changed certificate cannot be read; the last one serves on", "error", err)
	}
	return c.loaded, nil
}

func (c *Certificate) load(now stamp) error {
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return fmt.Errorf("certificate %s: %w", c.certFile, err)
	}
	c.loaded, c.stamp = &pair, now
	return nil
}

func (c *Certificate) stampNow() (stamp, error) {
	cert, err := os.Stat(c.certFile)
	if err != nil {
		return stamp{}, err
	}
	key, err := os.Stat(c.keyFile)
	if err != nil {
		return stamp{}, err
	}
	return stamp{fileStamp{cert.ModTime(), cert.Size()}, fileStamp{key.ModTime(), key.Size()}}, nil
}
