package wordpress

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"time"

	"xvault/connectors/sshexec"
	"xvault/connectors/sshtunnel"
	"xvault/connectors/wordpress/php"
	"xvault/internal/job"
)

// wpNames are the settings that wp-cli is asked for.
var wpNames = []string{
	"DB_NAME", "DB_USER", "DB_PASSWORD", "DB_HOST", "DB_CHARSET", "DB_COLLATE", "table_prefix", "MULTISITE",
	"WP_SITEURL", "WP_HOME", "WP_CONTENT_DIR", "WP_PLUGIN_DIR", "WPMU_PLUGIN_DIR", "UPLOADS",
}

const (
	// wpPatience is how long wp-cli may take to say anything.
	wpPatience = 2 * time.Minute
	// maxWPAnswer bounds its answer.
	maxWPAnswer = 256 << 10
)

// askWP has wp-cli on the server tell the settings: it runs wp-config.php, as the account
// that logs in. That is done only where the configuration says so. The answer holds the
// password; nothing of it is in an error or a log.
func (s *source) askWP(ctx context.Context, root string) (*php.Settings, error) {
	s.mu.Lock()
	env := s.env
	env.PinnedHostKeys = append(append([]string{}, env.PinnedHostKeys...), s.pinned...)
	s.mu.Unlock()
	env.SSHCredential = s.env.Credential
	tunnel, _, err := sshtunnel.Open(ctx, sshtunnel.Config{
		Host: s.config.Host, Port: s.config.Port, Username: s.config.Username, CredentialID: tunnelCredential,
		HostKeys: s.config.HostKeys, TrustOnFirstUse: s.config.TrustOnFirstUse,
	}, env, s.options.MySQL.Tunnel)
	if err != nil {
		return nil, err
	}
	defer func() { _ = tunnel.Close() }() // all that counts was answered
	answer, err := sshexec.Ask(ctx, tunnel.Conn, sshexec.Command{
		Program: "wp", Args: wpArgs(root), What: "asking wp-cli for the settings", Patience: wpPatience,
	})
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if job.CodeOf(err).Retryable() {
			return nil, err
		}
		return nil, job.Errorf(job.ConfigInvalid, "wp-cli (wp) does not tell the settings: it has to be installed there, and to work for the user %q in %q, who must not be root: %w", s.config.Username, root, err)
	}
	return readWP(answer)
}

// wpArgs is its command line. Nothing of the site but wp-config.php is loaded.
func wpArgs(root string) []string {
	args := []string{"--path=" + root, "--skip-plugins", "--skip-themes", "--skip-packages", "--no-color", "config", "list"}
	return append(append(args, wpNames...), "--strict", "--format=json")
}

// readWP reads its answer.
func readWP(answer []byte) (*php.Settings, error) {
	bad := job.Errorf(job.ConfigInvalid, "what wp-cli answers is no list of settings. Does wp-config.php, or a program that it includes, print anything?")
	if len(answer) > maxWPAnswer {
		return nil, bad
	}
	var list []struct {
		Name  string `json:"name"`
		Key   string `json:"key"` // what earlier versions call the name
		Value any    `json:"value"`
		Type  string `json:"type"`
	}
	d := json.NewDecoder(bytes.NewReader(answer))
	d.UseNumber()
	if d.Decode(&list) != nil || d.More() || len(list) == 0 {
		return nil, bad
	}
	constants, variables := map[string]any{}, map[string]any{}
	for _, one := range list {
		if n, ok := one.Value.(json.Number); ok {
			one.Value = n.String()
		}
		one.Name = cmp.Or(one.Name, one.Key)
		switch one.Type {
		case "constant":
			constants[one.Name] = one.Value
		case "variable":
			variables[one.Name] = one.Value
		}
	}
	return php.Of(constants, variables), nil
}
