package hub

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// certificate is a certificate in files that may be renewed at any time.
type certificate struct {
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

func newCertificate(certFile, keyFile string, log *slog.Logger) (*certificate, error) {
	c := &certificate{certFile: certFile, keyFile: keyFile, log: log}
	now, err := c.stampNow()
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	return c, c.load(now)
}

// get gives the certificate for a handshake. Where the files changed they are
// read again; where that fails, as in the middle of a renewal, the last good
// one serves on.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
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

func (c *certificate) load(now stamp) error {
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return fmt.Errorf("certificate %s: %w", c.certFile, err)
	}
	c.loaded, c.stamp = &pair, now
	return nil
}

func (c *certificate) stampNow() (stamp, error) {
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
