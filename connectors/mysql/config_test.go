package mysql

import (
	"encoding/json"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"xvault/internal/testenv"
)

func TestConfigIsCanonical(t *testing.T) {
	t.Parallel()
	canonical, faults := Validate([]byte(`{"host":"[::1]","username":"u","databases":["a","b","a"]}`))
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	want := `{"host":"::1","port":3306,"username":"u","databases":["a","b"],"tables":[],"exclude_tables":[],"routines":true,"tls":"preferred"}`
	if string(canonical) != want {
		t.Errorf("%s\nwant\n%s", canonical, want)
	}
	again, faults := Validate(canonical)
	if len(faults) > 0 || string(again) != string(canonical) {
		t.Errorf("again: %s, %v", again, faults)
	}
	var c Config
	canonical, faults = Validate([]byte(`{"socket":"/run/mysqld/mysqld.sock","username":"u","databases":["*"],"ssh":{"host":"h","username":"s"}}`))
	if len(faults) > 0 || json.Unmarshal(canonical, &c) != nil || c.TLS != TLSDisabled || c.Host != "localhost" || c.SSH.Port != 22 {
		t.Errorf("%s, %v", canonical, faults)
	}
}

func TestConfigFaults(t *testing.T) {
	t.Parallel()
	ca, err := json.Marshal(testenv.MariaDB(t).CertificatePEM)
	if err != nil {
		t.Fatal(err)
	}
	for text, field := range map[string]string{
		`[]`: "", `{"host":"h","username":"u"}`: "databases", `{"host":"h","databases":["a"]}`: "username", `{"username":"u","databases":["a"]}`: "host",
		`{"host":"h","username":"u","databases":[]}`:                                                                        "databases",
		`{"host":"h","username":"u","databases":["a","*"]}`:                                                                 "databases",
		`{"host":"h","username":"u","databases":["a",""]}`:                                                                  "databases[1]",
		`{"host":"h","username":"u","databases":["information_schema"]}`:                                                    "databases[0]",
		`{"host":"h","username":"u","databases":["a "]}`:                                                                    "databases[0]",
		`{"host":"h","username":"u","databases":["` + strings.Repeat("x", 65) + `"]}`:                                       "databases[0]",
		`{"host":"h","username":"u","databases":["a"],"tables":[1]}`:                                                        "tables[0]",
		`{"host":"h","username":"u","databases":["a"],"tls":"yes"}`:                                                         "tls",
		`{"host":"h","username":"u","databases":["a"],"ca_pem":"x"}`:                                                        "ca_pem",
		`{"host":"h","username":"u","databases":["a"],"tls":"required","ca_pem":` + string(ca) + `}`:                        "ca_pem",
		`{"host":"h","username":"u","databases":["a"],"port":70000}`:                                                        "port",
		`{"host":"h","username":"u","databases":["a"],"socket":"/s"}`:                                                       "socket",
		`{"username":"u","databases":["a"],"socket":"s","ssh":{"host":"h","username":"s"}}`:                                 "socket",
		`{"host":"h","username":"u","databases":["a"],"tls":"verify_ca","ssh":{"host":"h","username":"s","dump":"remote"}}`: "ssh.dump",
		`{"host":"h","username":"u","databases":["a"],"ssh":{"host":"h"}}`:                                                  "ssh.username",
		`{"host":"h","username":"u","databases":["a"],"password":"p"}`:                                                      "password",
		`{"host":"h","username":"u","databases":["a"],"ssh":{"host":"h","username":"s","root":"/"}}`:                        "ssh.root",
		`{"host":"h","username":"u","databases":["a"],"routines":"no"}`:                                                     "routines",
		`{"host":"h","username":"u","databases":["a"],"ssh":{"host":"h","username":"s","credential_id":"no"}}`:              "ssh.credential_id",
	} {
		if _, faults := Validate([]byte(text)); len(faults) != 1 || faults[0].Field != field {
			t.Errorf("%s: %v, want one of %q", text, faults, field)
		}
	}
}

func TestGrantsAreRead(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"GRANT SELECT, SHOW VIEW ON *.* TO `u`@`%` IDENTIFIED BY PASSWORD '*AA' WITH GRANT OPTION": "SELECT|SHOW VIEW|GRANT OPTION on *.*",
		"GRANT ALL PRIVILEGES ON `a``b`.* TO 'u'@'%'":                                              "ALL PRIVILEGES on a`b.*",
		"GRANT SELECT (`x`, ` ON `), INSERT ON `d`.`t` TO `u`@`%`":                                 "INSERT on d.t",
		"GRANT EXECUTE ON PROCEDURE `d`.`p` TO `u`@`%`":                                            "",
		"GRANT `role` TO `u`@`%`":                                                                  "",
		"GRANT PROXY ON ''@'%' TO 'root'@'localhost' WITH GRANT OPTION":                            "",
		"SET DEFAULT ROLE `r` FOR `u`@`%`":                                                         "",
		"REVOKE SELECT ON `d`.* FROM `u`@`%`":                                                      "-SELECT on d.*",
		"GRANT BACKUP_ADMIN,SHOW_ROUTINE ON *.* TO `u`@`%`":                                        "BACKUP_ADMIN|SHOW_ROUTINE on *.*",
		"GRANT SELECT ON TABLE `d`.`t` TO `u`@`%`":                                                 "SELECT on d.t",
		"GRANT ": "", "GRANT  ON `": "", "GRANT SELECT ON `d": "",
	} {
		g, ok := parseGrant(line)
		got := ""
		if ok {
			if got = strings.Join(g.privileges, "|") + " on " + g.database + "." + g.table; g.revoked {
				got = "-" + got
			}
		}
		if got != want {
			t.Errorf("%s is %q, want %q", line, got, want)
		}
	}
	for _, c := range []struct {
		pattern, text string
		want          bool
	}{{"a_b", "axb", true}, {`a\_b`, "axb", false}, {`a\_b`, "a_b", true}, {"a%", "abc", true}, {"%", "", true}, {"ab", "a", false}, {`\`, `x`, false}, {"数_", "数据", true}, {"a.c", "abc", false}} {
		if got := like(c.pattern, c.text); got != c.want {
			t.Errorf("like(%q, %q) is %v", c.pattern, c.text, got)
		}
	}
	g := grants{list: []grant{
		{privileges: []string{"SELECT"}, database: "*", table: "*"},
		{privileges: []string{"SELECT"}, database: "hidden", table: "*", revoked: true},
	}}
	if !g.may("SELECT", "shown") || g.may("SELECT", "hidden") || !g.may("SELECT", "*") || g.may("TRIGGER", "shown") {
		t.Error("revoked privileges count")
	}
}

// Of several patterns that match a name the server takes one, of each grantee.
func TestPatternsThatMatch(t *testing.T) {
	t.Parallel()
	on := func(grantee, database string, privileges ...string) grant {
		return grant{privileges: privileges, database: database, table: "*", grantee: grantee}
	}
	const me, role, public = "`u`@`%`", "`role`", "PUBLIC"
	for what, c := range map[string]struct {
		g      grants
		want   bool
		grants string // on what the rest has to be granted
	}{
		"nothing":                       {grants{}, false, "`sh\\_op`"},
		"the name alone":                {grants{list: []grant{on(me, `sh\_op`, "TRIGGER")}}, true, "`sh\\_op`"},
		"one pattern":                   {grants{list: []grant{on(me, "sh%", "TRIGGER")}}, true, "`sh%`"},
		"the name, as a pattern":        {grants{list: []grant{on(me, "sh_op", "TRIGGER")}}, true, "`sh_op`"},
		"the name has less":             {grants{list: []grant{on(me, "sh%", "TRIGGER"), on(me, `sh\_op`, "SELECT")}}, false, "`sh\\_op`"},
		"the name has more":             {grants{list: []grant{on(me, "sh%", "SELECT"), on(me, `sh\_op`, "TRIGGER")}}, true, "`sh\\_op`"},
		"the longer pattern has less":   {grants{list: []grant{on(me, "s%", "TRIGGER"), on(me, "sh%", "SELECT")}}, false, "`sh%`"},
		"the longer pattern has more":   {grants{list: []grant{on(me, "%", "SELECT"), on(me, "sh%", "ALL PRIVILEGES")}}, true, "`sh%`"},
		"as special, one has less":      {grants{list: []grant{on(me, "sh%", "TRIGGER"), on(me, "sh_op", "SELECT")}}, false, "`sh%` `sh_op`"},
		"another's":                     {grants{list: []grant{on(me, `sh\_op`, "SELECT"), on(role, "sh%", "TRIGGER")}}, true, "`sh\\_op`"},
		"everybody's":                   {grants{list: []grant{on(me, `sh\_op`, "SELECT"), on(public, "sh%", "TRIGGER")}}, true, "`sh\\_op`"},
		"a role's, and a role's in it":  {grants{list: []grant{on(role, `sh\_op`, "SELECT"), on("`r2`", "sh%", "TRIGGER")}}, false, "`sh\\_op`"},
		"of two roles, the same":        {grants{list: []grant{on(role, "sh%", "SELECT"), on("`r2`", "sh%", "TRIGGER")}}, true, "`sh\\_op`"},
		"the name has less, all has it": {grants{list: []grant{on(me, `sh\_op`, "SELECT"), on(me, "*", "TRIGGER")}}, true, "`sh\\_op`"},
		"no patterns":                   {grants{literal: true, list: []grant{on(me, "sh%", "SELECT"), on(me, "sh_op", "TRIGGER")}}, true, "`sh_op`"},
		"active roles, patterns":        {grants{merged: true, list: []grant{on(me, "s%", "TRIGGER"), on(me, "sh%", "SELECT")}}, true, "`s%`"},
		"active roles, a name":          {grants{merged: true, list: []grant{on(me, "%", "TRIGGER"), on(me, "sh-op", "SELECT")}}, true, "`%`"},
	} {
		if got := c.g.may("TRIGGER", "sh_op"); got != c.want {
			t.Errorf("%s: %v, want %v", what, got, c.want)
		}
		if got := strings.Join(c.g.targets("sh_op"), " "); got != c.grants {
			t.Errorf("%s: on %s, want %s", what, got, c.grants)
		}
	}
	roles := grants{merged: true, list: []grant{on(me, "%", "TRIGGER"), on(me, "shop", "SELECT")}}
	if roles.may("TRIGGER", "shop") || !roles.may("SELECT", "shop") || !roles.may("TRIGGER", "shops") {
		t.Error("with active roles the name itself counts alone")
	}
	for line, want := range map[string]string{
		"GRANT SELECT ON `d`.* TO `u`@`%`":                                "`u`@`%`",
		"GRANT SELECT ON `d`.* TO `u u`@`%` WITH GRANT OPTION":            "`u u`@`%`",
		"GRANT SELECT ON `d`.* TO `role`":                                 "`role`",
		"GRANT USAGE ON *.* TO 'u'@'%' IDENTIFIED BY PASSWORD '*x'":       "'u'@'%'",
		"GRANT SELECT, INSERT (`a TO b`) ON `d TO e`.`f TO g` TO `u`@`%`": "`u`@`%`",
	} {
		if g, ok := parseGrant(line); !ok || g.grantee != want {
			t.Errorf("%s: %q, %v", line, g.grantee, ok)
		}
	}
}

func TestToolIsChosen(t *testing.T) {
	t.Parallel()
	maria, my := version{mariaDB, 10, 11, 6}, version{oracle, 8, 0, 40}
	old := version{mariaDB, 10, 5, 1}
	for _, c := range []struct {
		server version
		tools  []version
		want   version
		ok     bool
		note   string
	}{
		{maria, nil, version{}, false, ""},
		{maria, []version{my}, version{}, false, ""},
		{maria, []version{my, old, maria}, maria, true, ""},
		{maria, []version{old, my}, old, true, "older than the server"},
		{my, []version{maria}, maria, true, "no client of MySQL's own"},
		{my, []version{maria, my}, my, true, ""},
		{my, []version{my, maria}, my, true, ""},
	} {
		var tools []tool
		for _, v := range c.tools {
			tools = append(tools, tool{"/x", v})
		}
		got, note, ok := choose(c.server, tools, "the worker")
		if ok != c.ok || ok && got.version != c.want || !strings.Contains(note, c.note) || c.note == "" && note != "" {
			t.Errorf("%v of %v: %v, %q, %v", c.server, c.tools, got.version, note, ok)
		}
	}
	for text, want := range map[string]string{
		"mariadb-dump  Ver 10.19 Distrib 10.11.19-MariaDB, for debian-linux-gnu (x86_64)": "MariaDB 10.11.19",
		"mariadb-dump from 11.4.2-MariaDB, client 10.19 for Linux (x86_64)":               "MariaDB 11.4.2",
		"mysqldump  Ver 8.0.35 for Linux on x86_64 (MySQL Community Server - GPL)":        "MySQL 8.0.35",
		"mysqldump  Ver 10.13 Distrib 5.7.44, for Linux (x86_64)":                         "MySQL 5.7.44",
		"5.5.5-10.6.12-MariaDB-log": "MariaDB 10.6.12", "8.4.3": "MySQL 8.4.3", "8.0.35-27": "MySQL 8.0.35",
	} {
		v, ok := versionOf(text, "")
		if !ok || v.String() != want {
			t.Errorf("%q is %v, %v", text, v, ok)
		}
	}
}

// MySQL's client of 5.7 has no statistics to leave out, and MariaDB's neither: both read
// options in the same way, so that what this one takes that one takes.
func TestOlderClientsTakeTheOptions(t *testing.T) {
	t.Parallel()
	program, err := exec.LookPath("mariadb-dump")
	if err != nil {
		t.Fatal(err)
	}
	args := (&reach{}).dumpArgs("/dev/null", oracle, &database{name: "shop"})
	i := slices.IndexFunc(args, func(arg string) bool { return strings.Contains(arg, "column-statistics") })
	if i < 0 {
		t.Fatalf("MySQL's client of 8.0 would ask older servers for statistics: %q", args)
	}
	// It goes on to where there is no server.
	out, err := exec.Command(program, "--no-defaults", args[i], "--socket="+t.TempDir()+"/none", "shop").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "2002") {
		t.Errorf("with %s: %v: %.300s", args[i], err, out)
	}
}
