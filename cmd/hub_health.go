package cmd

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"
)

const hubHealthTimeout = 4 * time.Second

// newHubHealthCommand asks the hub of this machine how it is, for supervisors
// that have no HTTP client: a container without a shell.
func newHubHealthCommand() *cobra.Command {
	var alive bool
	c := &cobra.Command{
		Use: "health", Short: "Ask the hub on this machine whether it is ready; exit 0 when it is", Args: cobra.NoArgs,
		Long: `Asks the hub that serves on this machine, with the same settings as "hub serve",
whether Postgres, Redis and migrations are fine. Exit 0: they are.`,
	}
	c.RunE = func(c *cobra.Command, _ []string) error {
		s, err := loadSettings(c, knownSettings())
		if err != nil {
			return err
		}
		path := "/readyz"
		if alive {
			path = "/healthz"
		}
		return hubHealth(c.Context(), c.OutOrStdout(), s.text("HUB_LISTEN_ADDR", ":8080"), s.text("HUB_TLS_CERT_FILE", ""), path)
	}
	configFlag(c)
	settingFlag(c, "listen", "HUB_LISTEN_ADDR", "where it serves")
	settingFlag(c, "tls-cert", "HUB_TLS_CERT_FILE", "certificate chain, PEM")
	c.Flags().BoolVar(&alive, "alive", false, "ask only whether it answers")
	return c
}

func hubHealth(ctx context.Context, out io.Writer, listen, certFile, path string) error {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return usagef("HUB_LISTEN_ADDR %q is not host:port", listen)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	scheme, transport := "http", &http.Transport{DisableKeepAlives: true}
	if certFile != "" {
		scheme = "https"
		if transport.TLSClientConfig, err = trustOnly(certFile); err != nil {
			return err
		}
	}
	client := &http.Client{Transport: transport, Timeout: hubHealthTimeout}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+net.JoinHostPort(host, port)+path, nil)
	if err != nil {
		return fmt.Errorf("ask the hub: %w", err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("ask the hub: %w", err)
	}
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 4096))
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return fmt.Errorf("ask the hub: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the hub is not ready: %s", printable(string(answer)))
	}
	_, err = fmt.Fprintf(out, "%s\n", answer)
	return err
}

// trustOnly takes the hub's own certificate and no other, under the name that
// it was made for: the connection goes to this machine's address, which is
// seldom in a certificate.
func trustOnly(certFile string) (*tls.Config, error) {
	chain, err := os.ReadFile(certFile)
	if err != nil {
		return nil, usagef("HUB_TLS_CERT_FILE: %w", err)
	}
	block, _ := pem.Decode(chain)
	if block == nil {
		return nil, usagef("HUB_TLS_CERT_FILE: %s holds no PEM", certFile)
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, usagef("HUB_TLS_CERT_FILE: %w", err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	name := leaf.Subject.CommonName
	switch {
	case len(leaf.DNSNames) > 0:
		name = leaf.DNSNames[0]
	case len(leaf.IPAddresses) > 0:
		name = leaf.IPAddresses[0].String()
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, ServerName: name}, nil
}
