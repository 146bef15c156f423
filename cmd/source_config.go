package cmd

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sort"
	"strings"

	"github.com/spf13/cobra"
)

// configOptions are the flags that make a source's configuration. Only what is
// said is sent: defaults and checks are the hub's.
type configOptions struct {
	file     string
	host     string
	port     int
	username string
	paths    []string
	exclude  []string
	hostKeys []string
	tofu     bool
	database []string
	set      []string // FIELD=VALUE
}

func (o *configOptions) addFlags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&o.file, "config", "", `the configuration as JSON, from a file or "-"; the flags below win over it`)
	f.StringVar(&o.host, "host", "", "the server's name or address")
	f.IntVar(&o.port, "port", 0, "the server's port, where it is not the usual one")
	f.StringVar(&o.username, "username", "", "who to log in as")
	f.StringArrayVar(&o.paths, "path", nil, "an absolute path to back up; may be repeated")
	f.StringArrayVar(&o.exclude, "exclude", nil, "a gitignore-style pattern to leave out; may be repeated")
	f.StringArrayVar(&o.hostKeys, "host-key", nil, `the server's key ("ssh-ed25519 AAAA...") or its fingerprint ("SHA256:..."); may be repeated`)
	f.StringArrayVar(&o.database, "database", nil, `a database to back up, "*" for all; may be repeated`)
	f.StringArrayVar(&o.set, "set", nil, `another field as FIELD=VALUE, VALUE in JSON or as text: tls=none, 'exclude_tables=["log"]'; may be repeated`)
	f.BoolVar(&o.tofu, "trust-on-first-use", false, "pin the key that the first connection shows")
}

// fields are the flags and the fields that they set.
func (o *configOptions) fields() map[string]struct {
	field string
	value any
} {
	type setting = struct {
		field string
		value any
	}
	return map[string]setting{
		"host": {"host", o.host}, "port": {"port", o.port}, "username": {"username", o.username},
		"path": {"paths", o.paths}, "exclude": {"exclude", o.exclude}, "host-key": {"host_keys", o.hostKeys},
		"trust-on-first-use": {"trust_on_first_use", o.tofu}, "database": {"databases", o.database},
	}
}

func (o *configOptions) changed(c *cobra.Command) bool {
	for flag := range o.fields() {
		if c.Flags().Changed(flag) {
			return true
		}
	}
	return o.file != "" || len(o.set) > 0
}

// build puts the configuration together: what there was, or what the file says
// instead of it, then the flags.
func (o *configOptions) build(c *cobra.Command, before json.RawMessage) (map[string]any, error) {
	config := map[string]any{}
	switch {
	case o.file != "":
		raw, err := readInput(c, o.file)
		if err != nil {
			return nil, err
		}
		if err := decodeObject(raw, &config); err != nil {
			return nil, usagef("%s is not a JSON object: %w", o.file, err)
		}
	case before != nil:
		if err := decodeObject(before, &config); err != nil {
			return nil, fmt.Errorf("decode the source's configuration: %w", err)
		}
	}
	for flag, set := range o.fields() {
		if c.Flags().Changed(flag) {
			config[set.field] = set.value
		}
	}
	return config, o.setOthers(config)
}

// setOthers sets the fields that have no flag of their own.
func (o *configOptions) setOthers(config map[string]any) error {
	for _, s := range o.set {
		field, text, ok := strings.Cut(s, "=")
		if !ok || field == "" {
			return usagef("--set is %q: it takes FIELD=VALUE", s)
		}
		var value any = text
		d := json.NewDecoder(strings.NewReader(text))
		d.UseNumber()
		var decoded any
		if err := d.Decode(&decoded); err == nil && !d.More() {
			value = decoded
		}
		config[field] = value
	}
	return nil
}

// decodeObject keeps numbers as they are written.
func decodeObject(raw []byte, into *map[string]any) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is more after the object")
	}
	return nil
}

const maxInput = 1 << 20

func readInput(c *cobra.Command, path string) ([]byte, error) {
	in := c.InOrStdin()
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, fmt.Errorf("read configuration: %w", err)
		}
		defer f.Close() // only read from
		in = f
	}
	raw, err := io.ReadAll(io.LimitReader(in, maxInput+1))
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	if len(raw) > maxInput {
		return nil, usagef("%s is larger than %d bytes", path, maxInput)
	}
	return raw, nil
}

// configFields shows a configuration field by field, of whatever type it is.
func configFields(raw json.RawMessage) []string {
	var config map[string]any
	if decodeObject(raw, &config) != nil {
		return nil
	}
	names := make([]string, 0, len(config))
	for name := range config {
		names = append(names, name)
	}
	sort.Strings(names)
	var pairs []string
	for _, name := range names {
		pairs = append(pairs, strings.ReplaceAll(name, "_", " "), configValue(config[name]))
	}
	return slices.Clip(pairs)
}

func configValue(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case []any:
		parts := make([]string, len(v))
		for i, p := range v {
			parts[i] = configValue(p)
		}
		return strings.Join(parts, ", ")
	case map[string]any:
		b, err := json.Marshal(v)
		if err != nil {
			return ""
		}
		return string(b)
	default:
		return fmt.Sprint(v)
	}
}
