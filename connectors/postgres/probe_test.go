package postgres_test

import (
	"context"
	"strings"
	"testing"

	"xvault/connectors"
	"xvault/connectors/postgres"
	"xvault/internal/job"
)

func probe(t *testing.T, config map[string]any, env connectors.Env) (connectors.ProbeResult, error) {
	t.Helper()
	return open(t, postgres.Options{}, config, env).Probe(context.Background())
}

func warned(found connectors.ProbeResult, text string) bool {
	return strings.Contains(strings.Join(found.Warnings, "\n"), text)
}

func TestProbe(t *testing.T) {
	t.Parallel()
	d := planted(t)
	found, err := probe(t, d.config(nil), d.env())
	if err != nil {
		t.Fatal(err)
	}
	if len(found.Paths) != 1 || found.Paths[0].Path != d.name || !found.Paths[0].Reachable || found.Paths[0].Kind != "database" {
		t.Errorf("paths %+v", found.Paths)
	}
	if !strings.HasPrefix(found.ServerVersion, "PostgreSQL ") || !strings.Contains(found.Transport, "pg_dump ") {
		t.Errorf("%+v", found)
	}
	if !warned(found, "superuser") || !warned(found, "not encrypted") {
		t.Errorf("warnings %q", found.Warnings)
	}
}

// The probe names what is missing and the GRANT to run; with that, the backup works.
func TestProbeNamesGrants(t *testing.T) {
	t.Parallel()
	d := planted(t)
	d.exec("SELECT lo_unlink(oid) FROM pg_largeobject_metadata", "CREATE TABLE rows (a int)", "ALTER TABLE rows ENABLE ROW LEVEL SECURITY")
	role := d.role("secret", "")
	config := d.config(map[string]any{"username": role})
	env := newEnv(t, "secret")
	d.exec("REVOKE CONNECT ON DATABASE " + d.name + " FROM public")

	step := func(grant string) connectors.ProbeResult {
		t.Helper()
		found, err := probe(t, config, env)
		wantCode(t, err, job.PermissionDenied, grant)
		if len(found.Paths) != 1 || found.Paths[0].Reachable || found.Paths[0].Error == nil || !strings.Contains(found.Paths[0].Error.Message, grant) {
			t.Errorf("paths %+v", found.Paths)
		}
		_, err = collect(open(t, postgres.Options{}, config, env))
		wantCode(t, err, job.PermissionDenied, grant)
		d.exec(grant)
		return found
	}
	step("GRANT CONNECT ON DATABASE " + quoted(d.name) + " TO " + quoted(role) + ";")
	found := step("GRANT pg_read_all_data TO " + quoted(role) + ";")
	if !warned(found, "passwords of roles") {
		t.Errorf("warnings %q", found.Warnings)
	}
	step("ALTER ROLE " + quoted(role) + " BYPASSRLS;")
	found, err := probe(t, config, env)
	if err != nil || warned(found, "write") || warned(found, "superuser") || warned(found, "passwords of roles") {
		t.Errorf("with all that is needed: %v, %q", err, found.Warnings)
	}
	d.exec("GRANT INSERT ON app.texts TO " + quoted(role))
	if found, err = probe(t, config, env); err != nil || !warned(found, "app.texts") {
		t.Errorf("with more than is needed: %v, %q", err, found.Warnings)
	}
	mustCollect(t, open(t, postgres.Options{}, config, env))

	d.exec("SELECT lo_create(7)")
	_, err = probe(t, config, env)
	wantCode(t, err, job.PermissionDenied, "1 large objects")
	_, err = collect(open(t, postgres.Options{}, config, env))
	wantCode(t, err, job.PermissionDenied, "large object")
}

// What is left out needs no right.
func TestProbeLooksAtWhatIsDumped(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	d.exec("CREATE SCHEMA a", "CREATE SCHEMA b", "CREATE TABLE a.one (x int)", "CREATE TABLE a.two (x int)", "CREATE TABLE b.three (x int)")
	role := d.role("secret", "")
	d.exec("GRANT USAGE ON SCHEMA a TO "+quoted(role), "GRANT SELECT ON a.one TO "+quoted(role))
	config := d.config(map[string]any{"username": role, "schemas": []string{"a"}, "exclude_tables": []string{"a.tw?"}})
	if _, err := probe(t, config, newEnv(t, "secret")); err != nil {
		t.Error(err)
	}
	mustCollect(t, open(t, postgres.Options{}, config, newEnv(t, "secret")))
	delete(config, "exclude_tables")
	_, err := probe(t, config, newEnv(t, "secret"))
	wantCode(t, err, job.PermissionDenied, `"a"."two"`, "1 tables")
}

func TestProbeFailures(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	found, err := probe(t, d.config(map[string]any{"databases": []string{d.name, "nowhere"}}), d.env())
	wantCode(t, err, job.PathNotFound, "nowhere")
	if len(found.Paths) != 2 || found.ServerVersion == "" {
		t.Errorf("%+v", found)
	}
	_, err = probe(t, d.config(nil), newEnv(t, "wrong"))
	wantCode(t, err, job.AuthFailed, "credential")
	_, err = probe(t, d.config(map[string]any{"sslmode": "require"}), d.env())
	wantCode(t, err, job.ConfigInvalid, "no TLS")
	_, err = probe(t, d.config(map[string]any{"schemas": []string{"nowhere"}}), d.env())
	wantCode(t, err, job.PathNotFound, "nowhere")
}
