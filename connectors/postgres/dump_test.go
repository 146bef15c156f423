package postgres_test

import (
	"slices"
	"strings"
	"testing"

	"xvault/connectors"
	"xvault/connectors/postgres"
	"xvault/internal/entry"
	"xvault/internal/job"
)

func TestDumpRestores(t *testing.T) {
	t.Parallel()
	d := planted(t)
	for format, suffix := range map[string]string{"custom": ".dump", "plain": ".sql"} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			got := mustCollect(t, open(t, postgres.Options{}, d.config(map[string]any{"format": format}), d.env()))
			member := "postgres/" + d.name + suffix
			if !slices.Equal(slices.Sorted(slices.Values(got.names)), slices.Sorted(slices.Values([]string{"postgres/globals.sql", member}))) {
				t.Fatalf("members %v", got.names)
			}
			(&database{t, d.url, d.name}).wantRestored(got.content[member])
			globals := string(got.content["postgres/globals.sql"])
			if !strings.Contains(globals, "CREATE ROLE xvault;") || !strings.Contains(globals, "SCRAM-SHA-256$") {
				t.Errorf("roles are missing in %s", globals)
			}
		})
	}
}

// A role that may only read is enough.
func TestReadOnlyRole(t *testing.T) {
	t.Parallel()
	d := planted(t)
	d.exec("SELECT lo_unlink(oid) FROM pg_largeobject_metadata")
	role := d.role("secret", "")
	d.exec("GRANT pg_read_all_data TO " + quoted(role))
	config := d.config(map[string]any{"username": role})
	got := mustCollect(t, open(t, postgres.Options{}, config, newEnv(t, "secret")))
	d.wantRestored(got.content["postgres/"+d.name+".dump"])
	if globals := string(got.content["postgres/globals.sql"]); !strings.Contains(globals, "SCRAM-SHA-256$") {
		t.Errorf("globals of a role that may read everything: %s", globals)
	}
}

// Without that right the passwords of roles cannot be read, and all else is there.
func TestGlobalsWithoutPasswords(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	role := d.role("secret", "")
	d.exec("CREATE TABLE t (a int)", "INSERT INTO t VALUES (1)", "GRANT SELECT ON t TO "+quoted(role))
	config := d.config(map[string]any{"username": role})
	got := mustCollect(t, open(t, postgres.Options{}, config, newEnv(t, "secret")))
	if globals := string(got.content["postgres/globals.sql"]); !strings.Contains(globals, "CREATE ROLE xvault;") || strings.Contains(globals, "SCRAM") {
		t.Errorf("globals of a role without rights: %s", globals)
	}
}

func quoted(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

func TestMembersAreStreams(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	source := open(t, postgres.Options{}, d.config(nil), d.env())
	err := source.Read(t.Context(), func(item connectors.Item) error {
		if item.Kind != entry.File || item.Size != entry.SizeUnknown || item.Mode != 0o600 || item.ModTime.IsZero() {
			t.Errorf("header %+v", item.Header)
		}
		return nil // not read at all: the connector ends the program
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestSchemasAndExcludedTables(t *testing.T) {
	t.Parallel()
	d := planted(t)
	tables := func(more map[string]any) []string {
		t.Helper()
		got := mustCollect(t, open(t, postgres.Options{}, d.config(more), d.env()))
		// No extension is in the dump of a single schema, so it is not loaded.
		content := got.content["postgres/"+d.name+".sql"]
		var found []string
		for line := range strings.Lines(string(content)) {
			if rest, ok := strings.CutPrefix(line, "COPY "); ok {
				name, _, _ := strings.Cut(rest, " (")
				found = append(found, strings.TrimSuffix(strings.TrimSpace(name), "  FROM stdin;"))
			}
		}
		slices.Sort(found)
		return found
	}
	plain := func(more map[string]any) map[string]any { more["format"] = "plain"; return more }
	odd := `"Sch ema.ü"`
	if got, want := tables(plain(map[string]any{"schemas": []string{"Sch ema.ü"}})), []string{odd + ".base", odd + ".derived", odd + ".measure_2026_a"}; !slices.Equal(got, want) {
		t.Errorf("one schema: %q, want %q", got, want)
	}
	got := tables(plain(map[string]any{"schemas": []string{"app", "Sch ema.ü"}, "exclude_tables": []string{"app.t?xts", `app."Odd ""Näme"".x"`, "measure*", `"Sch ema.ü".d*`, "NUMBERS"}}))
	if want := []string{odd + ".base", "app.bytes", "app.numbers"}; !slices.Equal(got, want) {
		t.Errorf("with tables excluded: %q, want %q", got, want)
	}
	_, err := collect(open(t, postgres.Options{}, d.config(map[string]any{"schemas": []string{"app", "nowhere"}}), d.env()))
	wantCode(t, err, job.PathNotFound, `"nowhere"`, d.name)
}

// Passwords hold whatever people or machines put into them.
func TestPasswords(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	for _, password := range []string{
		` '"\%s $(id) ` + "`;&|<>", "two\nlines\r\n", "pässwörd-密码-🔑", strings.Repeat("long ", 40) + "end", "host=evil:5432 port=1", "#comment", `\`, "x",
	} {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			mine := &database{t, d.url, d.name}
			role := mine.role(password, "")
			config := mine.config(map[string]any{"username": role})
			got := mustCollect(t, open(t, postgres.Options{}, config, newEnv(t, password)))
			if len(got.names) != 2 {
				t.Errorf("members %v", got.names)
			}
			_, err := collect(open(t, postgres.Options{}, config, newEnv(t, password+"x")))
			wantCode(t, err, job.AuthFailed, "credential")
			if strings.Contains(err.Error(), password) && len(password) > 1 {
				t.Errorf("the error tells the password: %v", err)
			}
		})
	}
}
