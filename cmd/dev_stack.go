package cmd

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"xvault/connectors"
	"xvault/connectors/registry"
	"xvault/hub"
	"xvault/internal/apiclient"
	"xvault/internal/devenv"
	"xvault/internal/secret"
	"xvault/store/catalog"
	"xvault/worker"
)

// devStack is all of xVault in one process. Its parts start in order and stop
// in the opposite one.
type devStack struct {
	dir     string // everything lives below it
	listen  string
	verbose bool
	stderr  io.Writer

	postgres *devenv.Postgres
	redis    *devenv.MemRedis
	sshd     *devenv.SSHD
	client   *apiclient.Client
	url      string // of the hub
	workerID string
	logFile  *os.File

	hub, worker *part
}

const workerName = "demo-worker"

// secrets of the stack; they are made once and kept in its folder.
type devSecrets struct{ kek, operatorKey, joinToken secret.Text }

// start brings everything up and waits until the hub is ready.
func (d *devStack) start(ctx context.Context) (err error) {
	log, err := d.logger()
	if err != nil {
		return err
	}
	redis.SetLogger(redisLog{log})
	keys, err := d.secrets()
	if err != nil {
		return err
	}
	if d.postgres, err = devenv.NewPostgres(ctx, devenv.PostgresConfig{Dir: d.path("postgres"), Durable: true}); err != nil {
		return err
	}
	if d.redis, err = devenv.NewMemRedis(); err != nil {
		return err
	}
	if d.sshd, err = devenv.NewSSHD(ctx, devenv.SSHDConfig{Dir: d.path("sshd")}); err != nil {
		return err
	}
	if err := d.startHub(ctx, keys, log); err != nil {
		return fmt.Errorf("start hub: %w", err)
	}
	if err := d.startWorker(ctx, keys, log); err != nil {
		return fmt.Errorf("start worker: %w", err)
	}
	return d.waitReady(ctx)
}

func (d *devStack) path(parts ...string) string {
	return filepath.Join(append([]string{d.dir}, parts...)...)
}

// database is where the hub keeps its catalog: the server's own first one.
const database = "postgres"

func (d *devStack) startHub(ctx context.Context, keys devSecrets, log *slog.Logger) error {
	h, err := hub.New(ctx, hub.Config{
		DatabaseURL: secret.New(d.postgres.URL(database)), RedisURL: secret.New(d.redis.URL()), ListenAddr: d.listen,
		EncryptionKEK: keys.kek, OperatorKey: keys.operatorKey, JoinToken: keys.joinToken,
		SourceTypes: registry.All(), Version: buildVersion(), ShutdownTimeout: 5 * time.Second, DeleteGrace: 24 * time.Hour, Log: log,
		Limits: catalog.Limits{PerSource: 1, PerHost: 16, PerTenant: 64},
	})
	if err != nil {
		return err
	}
	d.url = "http://" + h.Addr().String()
	d.client, err = apiclient.New(apiclient.Config{Server: d.url, Key: keys.operatorKey})
	if err != nil {
		h.Close()
		return err
	}
	d.hub = startPart(ctx, "hub", h.Serve)
	return nil
}

func (d *devStack) startWorker(ctx context.Context, keys devSecrets, log *slog.Logger) error {
	w, err := worker.New(ctx, worker.Config{
		ID: workerName, Name: "in xvault dev", Version: buildVersion(), HubURL: d.url, JoinToken: keys.joinToken,
		RedisURL: secret.New(d.redis.URL()), StorageBase: d.path("backups"), StateDir: d.path("worker"), TempDir: d.path("tmp"),
		ListenAddr:  "127.0.0.1:0",
		SourceTypes: registry.All(), Dial: connectors.NewDialer(connectors.DialerConfig{}), Log: log,
		DrainTimeout: 5 * time.Second,
	})
	if err != nil {
		return err
	}
	d.workerID = w.ID()
	d.worker = startPart(ctx, "worker", w.Run)
	return nil
}

// waitReady polls until hub and worker are ready for work.
func (d *devStack) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return d.watch(ctx, func(ctx context.Context) error {
		for {
			w, err := d.client.Workers().Get(ctx, d.workerID)
			if err == nil && w.Value.Status == "online" {
				return nil
			}
			select {
			case <-ctx.Done():
				return errors.Join(errors.New("hub and worker are not ready"), err)
			case <-time.After(50 * time.Millisecond):
			}
		}
	})
}

// watch runs fn for as long as hub and worker run.
func (d *devStack) watch(ctx context.Context, fn func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	for _, p := range []*part{d.hub, d.worker} {
		stop := p.whenEnded(func(err error) { cancel(fmt.Errorf("%s ended: %w", p.name, err)) })
		defer stop()
	}
	err := fn(ctx)
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return fmt.Errorf("%w (see %s)", cause, d.path(devLog))
	}
	return err
}

// stop ends what was started, the worker first: it still has to hand back its
// jobs to the hub.
func (d *devStack) stop() error {
	var errs []error
	for _, p := range []*part{d.worker, d.hub} {
		if p != nil {
			errs = append(errs, p.stop())
		}
	}
	if d.client != nil {
		d.client.Close()
	}
	if d.sshd != nil {
		errs = append(errs, d.sshd.Stop())
	}
	if d.redis != nil {
		d.redis.Close()
	}
	if d.postgres != nil {
		errs = append(errs, d.postgres.Stop())
	}
	if d.logFile != nil {
		errs = append(errs, d.logFile.Close())
	}
	return errors.Join(errs...)
}

const devLog = "xvault.log"

// logger writes to a file in the stack's folder, and to stderr if asked to.
func (d *devStack) logger() (*slog.Logger, error) {
	f, err := os.OpenFile(d.path(devLog), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	d.logFile = f
	var w io.Writer = f
	if d.verbose {
		w = io.MultiWriter(f, d.stderr)
	}
	return slog.New(slog.NewTextHandler(w, nil)), nil
}

// secrets reads the stack's secrets, or makes them.
func (d *devStack) secrets() (keys devSecrets, err error) {
	if keys.kek, err = d.secret("kek", func() string {
		key := make([]byte, 32)
		_, _ = rand.Read(key) // never fails
		return "dev:" + base64.StdEncoding.EncodeToString(key)
	}); err != nil {
		return keys, err
	}
	random := func() string { return rand.Text() + rand.Text() }
	if keys.operatorKey, err = d.secret("operator.key", random); err != nil {
		return keys, err
	}
	keys.joinToken, err = d.secret("join.token", random)
	return keys, err
}

func (d *devStack) secret(name string, generate func() string) (secret.Text, error) {
	b, err := os.ReadFile(d.path(name))
	if err == nil {
		return secret.New(strings.TrimSpace(string(b))), nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return secret.Text{}, fmt.Errorf("read %s: %w", name, err)
	}
	value := generate()
	if err := os.WriteFile(d.path(name), []byte(value+"\n"), 0o600); err != nil {
		return secret.Text{}, fmt.Errorf("keep %s: %w", name, err)
	}
	return secret.New(value), nil
}
