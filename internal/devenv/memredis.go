package devenv

import (
	"crypto/rand"
	"fmt"
	"net/url"

	"github.com/alicebob/miniredis/v2"

	"xvault/internal/secret"
)

// MemRedis is a Redis in this very process, for trying things out: what it
// holds ends with the process.
type MemRedis struct {
	server   *miniredis.Miniredis
	password secret.Text
}

// NewMemRedis starts one on a free loopback port, behind a password.
func NewMemRedis() (*MemRedis, error) {
	r := &MemRedis{server: miniredis.NewMiniRedis(), password: secret.New(rand.Text())}
	// Keys expire as they do in a real one, by the wall clock; without this they
	// would stay for ever, asynq's leases and uniqueness locks among them.
	r.server.ClockTTL(true)
	r.server.RequireAuth(r.password.Reveal())
	if err := r.server.StartAddr("127.0.0.1:0"); err != nil {
		return nil, fmt.Errorf("start in-process redis: %w", err)
	}
	return r, nil
}

// URL addresses database 0. It holds the password.
func (r *MemRedis) URL() string {
	u := url.URL{Scheme: "redis", User: url.UserPassword("", r.password.Reveal()), Host: r.server.Addr(), Path: "/0"}
	return u.String()
}

// Close ends the server; clients' connections break.
func (r *MemRedis) Close() { r.server.Close() }
