package devenv

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

// Redis is a private redis-server that keeps nothing on disk.
type Redis struct {
	dir     string
	port    int
	process *Process
	output  *Tail
}

// NewRedis starts a server in a folder that the caller made.
func NewRedis(ctx context.Context, dir string) (*Redis, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("prepare redis: %w", err)
	}
	r := &Redis{dir: dir}
	for attempt := 1; ; attempt++ {
		var err error
		if r.port, err = FreePort(); err != nil {
			return nil, err
		}
		if err = r.Start(ctx); err == nil {
			return r, nil
		}
		var missing *MissingError
		if attempt == startAttempts || ctx.Err() != nil || errors.As(err, &missing) {
			return nil, err
		}
	}
}

// URL addresses database 0.
func (r *Redis) URL() string { return "redis://" + r.Addr() + "/0" }

// Addr is host and port.
func (r *Redis) Addr() string { return "127.0.0.1:" + strconv.Itoa(r.port) }

// Start starts a server that was stopped, empty, on the same port.
func (r *Redis) Start(ctx context.Context) error {
	path, err := find("redis-server")
	if err != nil {
		return err
	}
	r.output = &Tail{}
	proc, err := Start(Command{
		Path: path, Dir: r.dir, Output: r.output,
		Args: []string{"--port", strconv.Itoa(r.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", r.dir},
	})
	if err != nil {
		return err
	}
	r.process = proc
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		err := r.do(ctx, func(c *redis.Client) error { return c.Ping(ctx).Err() })
		if err == nil {
			return nil
		}
		select {
		case <-proc.Done():
			return fmt.Errorf("redis-server ended while starting: %w\n%s", errOr(proc.Err(), "exit status 0"), r.output.String())
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("redis-server does not answer: %w", err), proc.Kill())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func errOr(err error, text string) error {
	if err == nil {
		return errors.New(text)
	}
	return err
}

func (r *Redis) do(_ context.Context, fn func(*redis.Client) error) error {
	c := redis.NewClient(&redis.Options{Addr: r.Addr(), MaxRetries: -1, DialTimeout: time.Second})
	return errors.Join(fn(c), c.Close())
}

// FlushAll empties every database.
func (r *Redis) FlushAll(ctx context.Context) error {
	return r.do(ctx, func(c *redis.Client) error { return c.FlushAll(ctx).Err() })
}

// Kill ends the server with SIGKILL; all it held is lost.
func (r *Redis) Kill() error { return r.process.Kill() }

// Stop ends the server in order; all it held is lost just the same.
func (r *Redis) Stop() error { return r.process.Stop(syscall.SIGTERM, 10*time.Second) }
