package wordpress

import (
	"strings"
	"testing"
)

func TestConfig(t *testing.T) {
	t.Parallel()
	canonical, faults := Validate([]byte(`{"host":"h","username":"u","root":"/srv//site/"}`))
	want := `{"host":"h","port":22,"username":"u","root":"/srv/site","exclude":[],"include_caches":false,"content_outside":false,"host_keys":[],"trust_on_first_use":false}`
	if string(canonical) != want || len(faults) > 0 {
		t.Errorf("%s, %v", canonical, faults)
	}
	if again, faults := Validate(canonical); string(again) != want || len(faults) > 0 {
		t.Errorf("again: %s, %v", again, faults)
	}
	if _, faults := Validate([]byte(`{"host":"h","username":"u","root":"/a","environment":["OLDPWDS=x","DB_PWD","WP_HOME=https://a.example:81/@b","DB_PWD_FILE=/run/p"]}`)); len(faults) > 0 {
		t.Errorf("no secrets: %v", faults)
	}
	canonical, faults = Validate([]byte(`{"host":"h","username":"u","root":"/a","hooks":{"before":" true ","after":"b"}}`))
	if want := `"hooks":{"before":"true","after":"b","timeout_seconds":300}}`; !strings.HasSuffix(string(canonical), want) || len(faults) > 0 {
		t.Errorf("hooks: %s, %v", canonical, faults)
	}
	for text, field := range map[string]string{
		`{"host":"h","username":"u","root":"/a","hooks":{}}`: "hooks", `{"host":"h","username":"u","root":"/a","hooks":{"befor":"true"}}`: "hooks.befor",
		`{"username":"u","root":"/a"}`: "host", `{"host":"h","root":"/a"}`: "username", `{"host":"h","username":"u"}`: "root",
		`{"host":"h","username":"u","root":"a"}`:                                                 "root",
		`{"host":"h","username":"u","root":"/a/wp-config.php"}`:                                  "root",
		`{"host":"h","username":"u","root":"/a\nb"}`:                                             "root",
		`{"host":"h","username":"u","root":"/a","paths":["/a"]}`:                                 "paths",
		`{"host":"h","username":"u","root":"/a","exclude":["a//b"]}`:                             "exclude[0]",
		`{"host":"h","username":"u","root":"/a","include_caches":"no"}`:                          "include_caches",
		`{"host":"h","username":"u","root":"/a","host_keys":["x"]}`:                              "host_keys[0]",
		`{"host":"h","username":"u","root":"/a","environment":["DATABASE_URL=mysql://u:p@h/d"]}`: "environment[0]",
		`{"host":"h","username":"u","root":"/a","environment":["A=b","DB_PWD=x"]}`:               "environment[1]",
		`{"host":"h","username":"u","root":"/a","environment":["APP_DSN=x"]}`:                    "environment[0]",
	} {
		if _, faults := Validate([]byte(text)); len(faults) != 1 || faults[0].Field != field {
			t.Errorf("%s: %v, want one of %s", text, faults, field)
		}
	}
}

func TestDatabaseHosts(t *testing.T) {
	t.Parallel()
	for setting, want := range map[string]address{
		"localhost":                 {host: "localhost", port: 3306, local: true},
		"":                          {host: "localhost", port: 3306, local: true},
		"LOCALHOST:3307":            {host: "LOCALHOST", port: 3307, local: true},
		"127.0.0.1":                 {host: "127.0.0.1", port: 3306},
		"127.0.0.1:3307":            {host: "127.0.0.1", port: 3307},
		"db.example.com:3307":       {host: "db.example.com", port: 3307},
		"localhost:/run/my.sock":    {socket: "/run/my.sock"},
		":/run/my.sock":             {socket: "/run/my.sock"},
		"localhost:33:/run/my.sock": {socket: "/run/my.sock"},
		"[::1]:3307":                {host: "::1", port: 3307},
		"[::1]":                     {host: "::1", port: 3306},
		"::1":                       {host: "::1", port: 3306},
	} {
		got, err := parseHost(setting)
		if strings.EqualFold(got.host, want.host) {
			got.host = want.host
		}
		if got != want || err != nil {
			t.Errorf("%q is %+v, %v, want %+v", setting, got, err, want)
		}
	}
	for _, setting := range []string{"a:b:c", "h:99999", "[x]:1:2", "[::1]:99999"} {
		if got, err := parseHost(setting); err == nil {
			t.Errorf("%q is %+v", setting, got)
		}
	}
}
