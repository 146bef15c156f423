package sftp

import (
	"context"

	"xvault/connectors"
	"xvault/connectors/sshconn"
)

// run runs a command on the source, over a connection of its own, so that one
// which broke while the source was read keeps no command from running.
func run(ctx context.Context, config []byte, env connectors.Env, o Options, command string) (string, error) {
	s, err := newSource(config, env, o, nil)
	if err != nil {
		return "", err
	}
	conn, _, err := sshconn.Connect(ctx, s.server())
	if err != nil {
		return "", err
	}
	defer conn.Close()
	return conn.Run(ctx, command)
}
