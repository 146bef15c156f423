package worker

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"xvault/internal/secret"
)

const (
	redisTimeout = 3 * time.Second
	// redisPause is how long a failed command waits before it returns.
	redisPause = 500 * time.Millisecond
)

var errRedisURL = errors.New("REDIS_URL is not a valid redis://, rediss://, unix:// or redis-sentinel:// address")

// openRedis makes the client that both asynq servers use; it connects when it
// is used. The errors of the parsers may quote a password and are dropped.
func openRedis(address secret.Text) (redis.UniversalClient, error) {
	if strings.HasPrefix(address.Reveal(), "redis-sentinel:") {
		return openSentinel(address)
	}
	// Not asynq's parser: it drops the user name.
	opts, err := redis.ParseURL(address.Reveal())
	if err != nil {
		return nil, errRedisURL
	}
	opts.DialTimeout, opts.ReadTimeout, opts.WriteTimeout = redisTimeout, redisTimeout, redisTimeout
	opts.MaxRetries = 1
	opts.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	return redis.NewClient(opts), nil
}

func openSentinel(address secret.Text) (redis.UniversalClient, error) {
	parsed, err := asynq.ParseRedisURI(address.Reveal())
	if err != nil {
		return nil, errRedisURL
	}
	opt, ok := parsed.(asynq.RedisFailoverClientOpt)
	if !ok {
		return nil, errRedisURL
	}
	return redis.NewFailoverClient(&redis.FailoverOptions{
		MasterName: opt.MasterName, SentinelAddrs: opt.SentinelAddrs, SentinelPassword: opt.SentinelPassword,
		Username: opt.Username, Password: opt.Password, DB: opt.DB, TLSConfig: opt.TLSConfig,
		DialTimeout: redisTimeout, ReadTimeout: redisTimeout, WriteTimeout: redisTimeout, MaxRetries: 1,
	}), nil
}

// redisGuard is a hook that slows down failing commands: asynq asks for the
// next task again at once after an error, so without it a Redis that is away
// costs a core. It also tells, once, that Redis went and came back.
type redisGuard struct {
	log    *slog.Logger
	pause  time.Duration
	closed chan struct{}

	mu   sync.Mutex
	away bool
}

func newRedisGuard(log *slog.Logger) *redisGuard {
	return &redisGuard{log: log, pause: redisPause, closed: make(chan struct{})}
}

// close ends every pause.
func (g *redisGuard) close() { close(g.closed) }

func (g *redisGuard) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (g *redisGuard) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		// asynq does everything in scripts; the rest is the client's own
		// greeting, parts of which a server may well refuse.
		if name := cmd.Name(); name == "evalsha" || name == "eval" {
			g.after(ctx, err)
		}
		return err
	}
}

func (g *redisGuard) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error { return next(ctx, cmds) }
}

func (g *redisGuard) after(ctx context.Context, err error) {
	if err == nil || errors.Is(err, redis.Nil) || redis.HasErrorPrefix(err, "NOSCRIPT") {
		g.tell(nil)
		return
	}
	if ctx.Err() != nil {
		return
	}
	g.tell(err)
	timer := time.NewTimer(g.pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	case <-g.closed:
	}
}

func (g *redisGuard) tell(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if away := err != nil; away != g.away {
		g.away = away
		if away {
			g.log.Warn("Redis cannot be used; no job comes in until it can, running ones go on", "error", err)
		} else {
			g.log.Info("Redis is back")
		}
	}
}
