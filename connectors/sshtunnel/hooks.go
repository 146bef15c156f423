package sshtunnel

import (
	"context"
	"encoding/json"

	"xvault/connectors"
	"xvault/internal/job"
)

// Hooks reads the object "hooks" of a source whose commands run on the machine in
// between, as nobody can run any on a database; nil where there are none.
func Hooks(f *connectors.Fields, tunnel *Config) *connectors.Hooks {
	h := connectors.ParseHooks(f)
	if h != nil && tunnel == nil && !f.Wrong("ssh") {
		f.Fault("hooks", "run on the ssh host: configure ssh, or leave them out")
	}
	return h
}

// Run implements connectors.Type.Run: over a connection of its own, so that one that
// broke during the backup keeps no command from running.
func Run(ctx context.Context, config []byte, env connectors.Env, command string) (string, error) {
	var c struct {
		SSH *Config `json:"ssh"`
	}
	if err := json.Unmarshal(config, &c); err != nil || c.SSH == nil {
		return "", job.Errorf(job.ConfigInvalid, "the source's configuration names no ssh host for its hooks")
	}
	tunnel, _, err := Open(ctx, *c.SSH, env, Options{})
	if err != nil {
		return "", err
	}
	defer tunnel.Close()
	return tunnel.Conn.Run(ctx, command)
}
