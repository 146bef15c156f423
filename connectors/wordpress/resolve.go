package wordpress

import (
	"context"
	"errors"
	"net/url"
	"strings"

	"xvault/connectors/wordpress/php"
	"xvault/internal/job"
)

// surroundings are what wp-config.php is read with, beside files: what the configuration
// says of the environment and the site's address.
type surroundings struct {
	environment, server map[string]php.Known
}

// surroundings puts together what is known. The environment that the configuration gives
// counts before that of the file.
func (s *source) surroundings(ctx context.Context, f files) (surroundings, error) {
	known := surroundings{environment: map[string]php.Known{}, server: map[string]php.Known{}}
	for _, line := range s.config.Environment {
		name, value, set := strings.Cut(line, "=")
		known.environment[name] = php.Known{Text: value, Set: set}
	}
	if u, err := url.Parse(s.config.URL); err == nil && s.config.URL != "" {
		port := u.Port()
		if port == "" {
			port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
		}
		known.server["HTTP_HOST"] = php.Known{Text: u.Host, Set: true}
		known.server["SERVER_NAME"] = php.Known{Text: u.Hostname(), Set: true}
		known.server["SERVER_PORT"] = php.Known{Text: port, Set: true}
		known.server["REQUEST_SCHEME"] = php.Known{Text: u.Scheme, Set: true}
		known.server["HTTPS"] = php.Known{Text: "on", Set: u.Scheme == "https"}
	}
	if s.config.EnvFile == "" {
		return known, nil
	}
	heads, err := f.Peek(ctx, []string{s.config.EnvFile}, php.MaxFile+1)
	if err != nil {
		return known, err
	}
	if heads[0] == nil || len(heads[0]) > php.MaxFile {
		return known, job.Errorf(job.ConfigInvalid, "env_file %q cannot be read: it is no file, is too long, or the user %q lacks permission", s.config.EnvFile, s.config.Username)
	}
	if err := parseEnv(heads[0], known.environment); err != nil {
		return known, job.Errorf(job.ConfigInvalid, "env_file %q cannot be understood: %w", s.config.EnvFile, err)
	}
	return known, nil
}

// reader is how wp-config.php in a place is read.
func (s *source) reader(ctx context.Context, f files, root, file string) (php.Config, error) {
	known, err := s.surroundings(ctx, f)
	return php.Config{
		Path: file, Constants: map[string]string{"ABSPATH": strings.TrimSuffix(root, "/") + "/"}, Last: settingsName,
		Environment: known.environment, Server: known.server, Load: f.load(ctx), Exists: f.exists(ctx),
	}, err
}

// resolve understands wp-config.php: by itself, or, where that is asked for and it cannot
// be told, by asking wp-cli.
func (s *source) resolve(ctx context.Context, f files, src []byte, root, file string) (*settings, error) {
	reading, err := s.reader(ctx, f, root, file)
	if err != nil {
		return nil, err
	}
	found, err := readSettings(src, root, reading)
	if err == nil || !s.config.WPCLI || job.CodeOf(err) != job.ConfigInvalid {
		return found, err
	}
	asked, askErr := s.askWP(ctx, root)
	if askErr != nil {
		if _, ok := errors.AsType[*job.Error](askErr); !ok {
			return nil, askErr
		}
		return nil, job.Errorf(job.CodeOf(askErr), "%w. It was asked because of this: %v", askErr, err)
	}
	s.env.Log.Info("wp-cli was asked for the settings, as they cannot be told from the file")
	return settingsOf(asked, root, file)
}
