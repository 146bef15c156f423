package wordpress

import (
	"context"
	"encoding/json"

	"xvault/connectors"
	"xvault/internal/job"
)

// run implements connectors.Type.Run, as the source that reads the files does.
func (p parts) run(ctx context.Context, config []byte, env connectors.Env, command string) (string, error) {
	var c Config
	if err := json.Unmarshal(config, &c); err != nil {
		return "", job.Errorf(job.ConfigInvalid, "the source's configuration is not valid: %w", err)
	}
	raw, err := json.Marshal(c.filesConfig(c.Root))
	if err != nil {
		return "", job.Errorf(job.Internal, "the configuration of a part cannot be written: %w", err)
	}
	return p.files.Run(ctx, raw, env, command)
}
