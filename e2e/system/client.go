package system

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"
)

// Client speaks the public contract with nothing of xVault's own code.
type Client struct {
	Base string
	Key  string
	HTTP *http.Client
}

// NewClient makes a client for a hub's address and a key; "" sends none.
func NewClient(base, key string) *Client {
	return &Client{Base: base, Key: key, HTTP: &http.Client{
		Timeout:   30 * time.Second,
		Transport: &http.Transport{DisableKeepAlives: true}, // no connection outlives its test
	}}
}

// As is the same hub with another key.
func (c *Client) As(key string) *Client { return &Client{Base: c.Base, Key: key, HTTP: c.HTTP} }

// Reply is an answer as it came.
type Reply struct {
	Status int
	Header http.Header
	Body   []byte
}

// Code is the stable code of a problem.
func (r Reply) Code() string {
	var p struct {
		Code string `json:"code"`
	}
	_ = json.Unmarshal(r.Body, &p)
	return p.Code
}

func (r Reply) String() string { return fmt.Sprintf("%d %s", r.Status, r.Body) }

// Try makes one call; err is only of the transport. A body that is a []byte
// goes out as it is, anything else as JSON.
func (c *Client) Try(method, path string, body any, header ...string) (Reply, error) {
	var payload io.Reader
	switch b := body.(type) {
	case nil:
	case []byte:
		payload = bytes.NewReader(b)
	default:
		enc, err := json.Marshal(body)
		if err != nil {
			return Reply{}, err
		}
		payload = bytes.NewReader(enc)
	}
	req, err := http.NewRequest(method, c.Base+path, payload)
	if err != nil {
		return Reply{}, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.Key != "" {
		req.Header.Set("Authorization", "Bearer "+c.Key)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return c.send(req)
}

func (c *Client) send(req *http.Request) (Reply, error) {
	resp, err := c.HTTP.Do(req)
	if err != nil {
		return Reply{}, err
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	if cerr := resp.Body.Close(); err == nil {
		err = cerr
	}
	return Reply{resp.StatusCode, resp.Header, b}, err
}

// Do makes one call that must answer with want.
func (c *Client) Do(t testing.TB, method, path string, body any, want int) Reply {
	t.Helper()
	r, err := c.Try(method, path, body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	if r.Status != want {
		t.Fatalf("%s %s: want %d, got %s", method, path, want, r)
	}
	return r
}

// Get decodes the object at path.
func Get[T any](t testing.TB, c *Client, path string) T {
	t.Helper()
	return decode[T](t, c.Do(t, "GET", path, nil, http.StatusOK))
}

// Post creates an object.
func Post[T any](t testing.TB, c *Client, path string, body any) T {
	t.Helper()
	return decode[T](t, c.Do(t, "POST", path, body, http.StatusCreated))
}

// List gives the first page (up to 500) of a list.
func List[T any](t testing.TB, c *Client, path string) []T {
	t.Helper()
	return Get[struct {
		Items []T `json:"items"`
	}](t, c, path).Items
}

func decode[T any](t testing.TB, r Reply) T {
	t.Helper()
	var v T
	if err := json.Unmarshal(r.Body, &v); err != nil {
		t.Fatalf("decode %s: %v", r, err)
	}
	return v
}
