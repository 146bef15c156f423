package ftp

import (
	"crypto/sha256"
	"encoding/hex"

	"xvault/internal/job"
)

// with runs a step on a connection, and once more where one breaks. Everything that
// it changes may be done twice.
func (t *target) with(step func(*session) error) error {
	if t.lost.Load() {
		return t.Going()
	}
	return t.pool.with(t.life, step)
}

// failed notes that the server went away.
func (t *target) failed(err error) {
	if code := job.CodeOf(err); code == job.ConnectFailed || code == job.Timeout {
		t.lost.Store(true)
	}
}

func hashOf(name string) string {
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:8])
}
