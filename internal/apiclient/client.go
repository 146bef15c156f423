// Package apiclient is a typed client of the hub's public API, for the command
// line and for tests. Its types hold what a person looks at; whoever wants all
// that the hub said, fields that are newer than this client included, takes an
// Item's Raw.
package apiclient

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"xvault/internal/secret"
)

// Config says which hub to talk to, and as whom.
type Config struct {
	// Server is the hub's address: "https://backup.example.com".
	Server string
	// Key is an API key or the operator's key.
	Key secret.Text
	// AllowPlainHTTP lets the key cross a network in clear. Without it plain
	// HTTP goes to the loopback interface only.
	AllowPlainHTTP bool
	// Timeout bounds one request; 0 means 30 s.
	Timeout time.Duration
	// UserAgent names the program; empty means "xvault".
	UserAgent string
}

// Client is safe for concurrent use.
type Client struct {
	base      *url.URL
	key       secret.Text
	userAgent string
	http      *http.Client
}

// maxAnswer bounds what is read of one answer.
const maxAnswer = 32 << 20

// New checks the address. It does not connect.
func New(cfg Config) (*Client, error) {
	base, err := url.Parse(strings.TrimRight(cfg.Server, "/"))
	if err != nil || base.Host == "" || (base.Scheme != "http" && base.Scheme != "https") {
		return nil, fmt.Errorf("%q is not the address of a hub: it looks like https://backup.example.com", cfg.Server)
	}
	if base.User != nil || base.RawQuery != "" || base.Fragment != "" {
		return nil, errors.New("the address of the hub holds more than scheme, host and path")
	}
	if base.Scheme == "http" && !cfg.AllowPlainHTTP && !isLoopback(base.Hostname()) {
		return nil, fmt.Errorf("%s would send the key in clear over the network: use https, or say --allow-plain-http (XVAULT_ALLOW_PLAIN_HTTP=true) to accept that", base)
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 30 * time.Second
	}
	if cfg.UserAgent == "" {
		cfg.UserAgent = "xvault"
	}
	return &Client{
		base: base, key: cfg.Key, userAgent: cfg.UserAgent,
		http: &http.Client{
			Transport: http.DefaultTransport.(*http.Transport).Clone(), //nolint:errcheck // its documented type
			Timeout:   cfg.Timeout,
			// The API never redirects; following one could carry the key elsewhere.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// Close ends idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Server is the hub's address.
func (c *Client) Server() string { return c.base.String() }

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// call makes one request below /api/v1. A nil body sends none; the answer is
// the raw JSON, empty for 204.
func (c *Client) call(ctx context.Context, method, path string, query url.Values, body any) (json.RawMessage, error) {
	req, err := c.request(ctx, method, path, query, body)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, &UnreachableError{Server: c.Server(), Err: unwrapURL(err)}
	}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	err = errors.Join(err, resp.Body.Close())
	switch {
	case err != nil:
		return nil, &UnreachableError{Server: c.Server(), Err: fmt.Errorf("read answer: %w", err)}
	case len(raw) > maxAnswer:
		return nil, fmt.Errorf("%s %s: the answer is larger than %d bytes", method, path, maxAnswer)
	case resp.StatusCode >= http.StatusMultipleChoices:
		return nil, problemOf(resp, raw)
	}
	return raw, nil
}

func (c *Client) request(ctx context.Context, method, path string, query url.Values, body any) (*http.Request, error) {
	u := c.base.JoinPath("api", "v1", path)
	u.RawQuery = query.Encode()
	var reader io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("encode request: %w", err)
		}
		reader = bytes.NewReader(encoded)
	}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), reader)
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if !c.key.IsZero() {
		req.Header.Set("Authorization", "Bearer "+c.key.Reveal())
	}
	req.Header.Set("Accept", "application/json, application/problem+json")
	req.Header.Set("User-Agent", c.userAgent)
	return req, nil
}

// unwrapURL takes off the layer that repeats method and address.
func unwrapURL(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}
