package dispatch

import (
	"errors"
	"net/url"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"xvault/internal/secret"
)

// redisTimeout bounds each step of a call, so that a Redis that hangs is as good
// as one that is gone.
const redisTimeout = 2 * time.Second

var errRedisURL = errors.New("REDIS_URL is not a valid redis://, rediss://, unix:// or redis-sentinel:// address")

// openRedis makes a client; it connects when it is used. Errors never quote the
// address, which may hold a password.
func openRedis(address secret.Text) (redis.UniversalClient, error) {
	u, err := url.Parse(address.Reveal())
	if err != nil {
		return nil, errRedisURL
	}
	if u.Scheme == "redis-sentinel" {
		return openSentinel(address)
	}
	// Not asynq's parser: it drops the user name.
	opts, err := redis.ParseURL(address.Reveal())
	if err != nil {
		return nil, errRedisURL
	}
	opts.DialTimeout, opts.ReadTimeout, opts.WriteTimeout = redisTimeout, redisTimeout, redisTimeout
	opts.MaxRetries, opts.DialerRetries = 1, 1 // the loops try again by themselves
	opts.ContextTimeoutEnabled = true
	// A feature of one vendor's service, which plain servers answer with errors.
	opts.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	return redis.NewClient(opts), nil
}

func openSentinel(address secret.Text) (redis.UniversalClient, error) {
	parsed, err := asynq.ParseRedisURI(address.Reveal())
	if err != nil {
		return nil, errRedisURL
	}
	opt, ok := parsed.(asynq.RedisFailoverClientOpt)
	if !ok || opt.MasterName == "" || len(opt.SentinelAddrs) == 0 || opt.SentinelAddrs[0] == "" {
		return nil, errRedisURL
	}
	return redis.NewFailoverClient(&redis.FailoverOptions{
		MasterName: opt.MasterName, SentinelAddrs: opt.SentinelAddrs, SentinelPassword: opt.SentinelPassword,
		Username: opt.Username, Password: opt.Password, DB: opt.DB, TLSConfig: opt.TLSConfig,
		DialTimeout: redisTimeout, ReadTimeout: redisTimeout, WriteTimeout: redisTimeout,
		MaxRetries: 1, DialerRetries: 1, ContextTimeoutEnabled: true,
	}), nil
}
