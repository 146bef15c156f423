package cmd

import (
	"bytes"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"xvault/internal/testenv"
	"xvault/migrations"
)

// typed runs one command line and gives what it printed and its exit code.
func typed(t *testing.T, args ...string) (out string, code int) {
	t.Helper()
	root := NewRoot()
	var stdout, stderr bytes.Buffer
	root.SetOut(&stdout)
	root.SetErr(&stderr)
	root.SetArgs(args)
	if err := root.ExecuteContext(t.Context()); err != nil {
		code = report(&stderr, err)
	}
	return stdout.String() + stderr.String(), code
}

func TestMigrateCommands(t *testing.T) {
	clearSettings(t)
	latest := strconv.Itoa(migrations.Latest())
	steps := []struct {
		args []string
		code int
		want string
	}{
		{[]string{"migrate", "status"}, exitUsage, "DATABASE_URL is not set"},
		{nil, 0, ""}, // from here on it is set
		{[]string{"migrate", "status"}, exitOK, "migrations are waiting"},
		{[]string{"migrate", "up"}, exitOK, "up to date"},
		{[]string{"migrate", "up"}, exitOK, "up to date"},
		{[]string{"migrate", "status", "-o", "json"}, exitOK, `"version": ` + latest},
		{[]string{"migrate", "status", "-o", "xml"}, exitUsage, "table or json"},
		{[]string{"migrate", "down"}, exitOK, "migrations are waiting"},
		{[]string{"migrate", "up"}, exitOK, "up to date"},
		{[]string{"a tenant"}, 0, ""},
		{[]string{"migrate", "down"}, exitUsage, "--yes"},
		{[]string{"migrate", "down", "--yes", "--steps", "99"}, exitFailed, "cannot go down 99"},
		{[]string{"migrate", "force"}, exitUsage, ""},
		{[]string{"migrate", "force", "one"}, exitUsage, "must be a number"},
		{[]string{"migrate", "force", "99"}, exitFailed, "between 0 and " + latest},
		{[]string{"migrate", "force", latest}, exitOK, "up to date"},
		{[]string{"migrate", "down", "--yes", "--steps", latest}, exitOK, "migrations are waiting"},
	}
	var url string
	for _, step := range steps {
		switch {
		case step.args == nil:
			url = testenv.Postgres(t)
			t.Setenv("DATABASE_URL", url)
			continue
		case step.args[0] == "a tenant":
			insertTenant(t, url)
			continue
		}
		out, code := typed(t, step.args...)
		if code != step.code || !strings.Contains(out, step.want) {
			t.Errorf("%v ended with %d, want %d:\n%s", step.args, code, step.code, out)
		}
	}
}

// insertTenant makes the catalog one that somebody uses.
func insertTenant(t *testing.T, url string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), "INSERT INTO tenants (id, name) VALUES (gen_random_uuid(), 'acme')"); err != nil {
		t.Error(err)
	}
	if err := conn.Close(t.Context()); err != nil {
		t.Error(err)
	}
}
