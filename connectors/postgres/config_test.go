package postgres_test

import (
	"encoding/json"
	"strings"
	"testing"

	"xvault/connectors/postgres"
)

func TestCanonicalConfig(t *testing.T) {
	t.Parallel()
	got, faults := postgres.Validate([]byte(`{"host":"[2001:db8::1]","username":"backup","databases":["b","a","b"]}`))
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	const want = `{"host":"2001:db8::1","port":5432,"username":"backup","databases":["b","a"],"schemas":[],"exclude_tables":[],"format":"custom","sslmode":"prefer","ca_pem":""}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if again, faults := postgres.Validate(got); len(faults) > 0 || string(again) != want {
		t.Errorf("its own canonical form becomes %s, %v", again, faults)
	}
}

func TestWrongConfigs(t *testing.T) {
	t.Parallel()
	good := map[string]any{"host": "db", "username": "backup", "databases": []string{"*"}}
	for field, values := range map[string][]any{
		"host":              {nil, "", 5, "postgres://db", "db:5432", "/var/run/postgresql", "a b"},
		"port":              {0, 65536, "5432"},
		"username":          {nil, "", strings.Repeat("x", 64), "a\x00b"},
		"databases":         {nil, []string{}, "shop", []string{"*", "shop"}},
		"databases[0]":      {[]string{""}, []string{strings.Repeat("x", 64)}, []any{1}},
		"schemas[0]":        {[]string{""}},
		"exclude_tables[0]": {[]string{""}, []string{"a."}, []string{".b"}, []string{"a.b.c"}, []string{`"a`}, []string{strings.Repeat("x", 1001)}},
		"format":            {"tar", "Custom", ""},
		"sslmode":           {"verify", "on", ""},
		"ca_pem":            {"-----BEGIN NOTHING-----", "hello", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"},
		"socket":            {"/var/run/postgresql/.s.PGSQL.5432"},
		"ssh.host":          {map[string]any{"username": "x"}},
		"ssh.dump": {
			map[string]any{"host": "h", "username": "u", "dump": "exec"},
			map[string]any{"host": "h", "username": "u", "dump": "remote"}, // to another machine, with sslmode prefer
		},
		"password": {"no"},
	} {
		name, _, _ := strings.Cut(field, "[")
		name, _, _ = strings.Cut(name, ".")
		for _, value := range values {
			config := map[string]any{name: value}
			for k, v := range good {
				if k != name {
					config[k] = v
				}
			}
			if value == nil {
				delete(config, name)
			}
			raw, err := json.Marshal(config)
			if err != nil {
				t.Fatal(err)
			}
			_, faults := postgres.Validate(raw)
			found := false
			for _, f := range faults {
				found = found || f.Field == field
			}
			if !found {
				t.Errorf("%s: faults %v, none of %s", raw, faults, field)
			}
		}
	}
}
