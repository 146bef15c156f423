// Package hubclient calls the hub's internal API with the messages of
// internal/job. It makes each call once: whoever calls knows what a repetition
// would mean. Answers are bounded in size and time, redirects are not followed
// (they would carry the token elsewhere), and no error holds a secret.
package hubclient

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"xvault/internal/secret"
)

const (
	// maxAnswer bounds every answer: a reconciliation lists up to 200,000 ids.
	maxAnswer = 16 << 20
	// maxProblem bounds what is read of a refusal.
	maxProblem = 64 << 10
)

// Config is where the hub is.
type Config struct {
	// BaseURL is the hub's address, such as https://hub.example.net. Plain http
	// is taken for loopback hosts only, unless AllowPlainHTTP.
	BaseURL string
	// AllowPlainHTTP sends the worker's token and sealed secrets over networks
	// where others may read and change them.
	AllowPlainHTTP bool
	// Timeout bounds each call. Default: 20 s.
	Timeout time.Duration
	// UserAgent names this program and its version. Default: "xvault-worker".
	UserAgent string
	// Transport carries the calls; nil: a transport of the client's own.
	Transport http.RoundTripper
}

// Client is safe for concurrent use. Close it when it is done with.
type Client struct {
	base      *url.URL
	http      *http.Client
	userAgent string
	token     atomic.Pointer[secret.Text]
}

// New checks the address; it does not call the hub.
func New(cfg Config) (*Client, error) {
	base, err := parseBase(cfg.BaseURL, cfg.AllowPlainHTTP)
	if err != nil {
		return nil, err
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 20 * time.Second
	}
	if cfg.UserAgent == "" {
		cfg.UserAgent = "xvault-worker"
	}
	if cfg.Transport == nil {
		cfg.Transport = newTransport()
	}
	return &Client{
		base:      base,
		userAgent: cfg.UserAgent,
		http: &http.Client{
			Transport:     cfg.Transport,
			Timeout:       cfg.Timeout,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

func newTransport() *http.Transport {
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		ForceAttemptHTTP2:   true,
		MaxIdleConns:        16,
		MaxIdleConnsPerHost: 16,
		IdleConnTimeout:     90 * time.Second,
		TLSHandshakeTimeout: 10 * time.Second,
	}
}

// Close drops idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// SetToken sets the token that calls carry from now on.
func (c *Client) SetToken(token secret.Text) { c.token.Store(&token) }

// post makes one call with the client's token.
func (c *Client) post(ctx context.Context, path string, in, out any) error {
	token := c.token.Load()
	if token == nil {
		return errors.New("call hub: this worker has no token yet")
	}
	return c.postAs(ctx, *token, path, in, out)
}

func (c *Client) postAs(ctx context.Context, token secret.Text, path string, in, out any) error {
	req, err := c.request(ctx, token, path, in)
	if err != nil {
		return err
	}
	res, err := c.http.Do(req)
	if err != nil {
		return &UnreachableError{Err: withoutURL(err)}
	}
	defer func() { _ = res.Body.Close() }() // nothing was written to it
	if res.StatusCode < 200 || res.StatusCode > 299 {
		return refusal(res)
	}
	return decode(res.Body, out)
}

func (c *Client) request(ctx context.Context, token secret.Text, path string, in any) (*http.Request, error) {
	body, err := json.Marshal(in)
	if err != nil {
		return nil, fmt.Errorf("encode call to hub: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base.JoinPath("internal", path).String(), bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("call hub: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, application/problem+json")
	req.Header.Set("Authorization", "Bearer "+token.Reveal())
	req.Header.Set("User-Agent", c.userAgent)
	return req, nil
}

// decode reads an answer. One that does not arrive whole is as good as none.
func decode(body io.Reader, out any) error {
	content, err := io.ReadAll(io.LimitReader(body, maxAnswer+1))
	if err != nil {
		return &UnreachableError{Err: fmt.Errorf("read answer: %w", err)}
	}
	if len(content) > maxAnswer {
		return errors.New("the hub's answer is larger than allowed")
	}
	if out == nil {
		out = new(struct{}) // a proxy's page is no consent
	}
	if err := json.Unmarshal(content, out); err != nil {
		// Not quoted: answers hold tokens. A proxy's page looks like this too.
		return &UnreachableError{Err: errors.New("the answer is not the JSON that a hub gives; is something else at this address?")}
	}
	return nil
}

// refusal makes the error of an answer that is no success.
func refusal(res *http.Response) error {
	e := &Error{Status: res.StatusCode, RetryAfter: retryAfter(res.Header.Get("Retry-After"))}
	content, err := io.ReadAll(io.LimitReader(res.Body, maxProblem))
	kind, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type"))
	if err == nil && kind == "application/problem+json" {
		var p struct {
			Code, Detail string
			Errors       []struct{ Location, Message string }
		}
		if json.Unmarshal(content, &p) == nil {
			e.Code, e.Detail = p.Code, p.Detail
			for _, field := range p.Errors {
				e.Detail += " " + field.Location + ": " + field.Message + "."
			}
		}
	}
	return e
}

// withoutURL drops the address that net/http puts before every error.
func withoutURL(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}

func retryAfter(header string) time.Duration {
	seconds, err := time.ParseDuration(strings.TrimSpace(header) + "s")
	if err != nil || seconds < 0 {
		return 0
	}
	return min(seconds, 5*time.Minute)
}
