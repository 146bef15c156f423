package testenv

import (
	"testing"
	"time"

	"xvault/internal/devenv"
)

// RedisServer is a redis-server of one test's own, empty at every start.
type RedisServer struct {
	URL    string // redis://127.0.0.1:port/0
	Addr   string // host and port, for a proxy in between
	t      testing.TB
	server *devenv.Redis
}

// Redis starts a private redis-server; it is gone after the test.
func Redis(t testing.TB) *RedisServer {
	t.Helper()
	ctx, cancel := startContext()
	defer cancel()
	server, err := devenv.NewRedis(ctx, Dir(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Kill(); err != nil {
			t.Errorf("stop redis: %v", err)
		}
	})
	return &RedisServer{URL: server.URL(), Addr: server.Addr(), t: t, server: server}
}

// CPU is the processor time that the server has used.
func (r *RedisServer) CPU() time.Duration {
	r.t.Helper()
	used, err := r.server.CPU()
	r.check(err)
	return used
}

// Kill ends the server as SIGKILL does.
func (r *RedisServer) Kill() {
	r.t.Helper()
	r.check(r.server.Kill())
}

// Stop ends the server in order.
func (r *RedisServer) Stop() {
	r.t.Helper()
	r.check(r.server.Stop())
}

// Start starts it again after Kill or Stop: empty, at the same address.
func (r *RedisServer) Start() {
	r.t.Helper()
	ctx, cancel := startContext()
	defer cancel()
	r.check(r.server.Start(ctx))
}

// FlushAll empties it.
func (r *RedisServer) FlushAll() {
	r.t.Helper()
	ctx, cancel := startContext()
	defer cancel()
	r.check(r.server.FlushAll(ctx))
}

func (r *RedisServer) check(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}
