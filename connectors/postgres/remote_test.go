package postgres_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"xvault/connectors"
	"xvault/connectors/postgres"
	"xvault/internal/job"
	"xvault/internal/secret"
	"xvault/internal/testenv"
)

// noForwarding is an SSH server that lets programs run, and nothing through.
func noForwarding(t *testing.T) *testenv.SSHServer {
	t.Helper()
	return testenv.SSHD(t, onlyPrograms)
}

var onlyPrograms = testenv.SSHOptions{Extra: []string{"AllowTcpForwarding no", "AllowStreamLocalForwarding no"}}

// remotely is throughSSH with a way to dump.
func remotely(config map[string]any, env *connectors.Env, ssh *testenv.SSHServer, host string, port int, dump string) {
	throughSSH(config, env, ssh, host, port)
	config["ssh"].(map[string]any)["dump"] = dump //nolint:errcheck // throughSSH has made it
	env.TempDir = nil                             // nothing of it is needed
}

// socket is where the server listens.
func (d *database) socket() map[string]any {
	d.t.Helper()
	folder := testenv.QueryPostgres(d.t, d.url.String(), "SHOW unix_socket_directories")[0]
	return map[string]any{"socket": filepath.Join(folder, ".s.PGSQL."+d.url.Port()), "host": nil, "port": nil}
}

// By the ssh host's own programs, over a socket and over a port: all comes back, and the
// password shows nowhere.
func TestRemoteDump(t *testing.T) {
	t.Parallel()
	d := planted(t)
	const password = ` c4n4ry-afar "pass'word" \ % $(id) ü `
	role := d.role(password, "SUPERUSER")
	ssh := noForwarding(t)
	for dump, more := range map[string]map[string]any{"remote": {}, "auto": d.socket()} {
		more["username"] = role
		config, env := d.config(more), newEnv(t, password)
		var log bytes.Buffer
		env.Log = slog.New(slog.NewTextHandler(&log, nil))
		remotely(config, &env, ssh, ssh.Host(), ssh.Port(), dump)
		found, err := probe(t, config, env)
		if err != nil || !strings.Contains(found.Transport, "by the ssh host's own program") || found.HostKey != ssh.HostKey() || len(found.Paths) != 1 || !found.Paths[0].Reachable {
			t.Errorf("%s: %+v, %v", dump, found, err)
		}
		source := open(t, postgres.Options{}, config, env)
		content := map[string][]byte{}
		err = source.Read(t.Context(), func(item connectors.Item) error {
			begin := make([]byte, 1)
			if _, err := io.ReadFull(item.Body, begin); err != nil {
				return err
			}
			if shown := shows(t, "c4n4ry-afar"); len(shown) > 0 {
				t.Errorf("%s: the password is in %q", dump, shown)
			}
			rest, err := io.ReadAll(item.Body)
			content[item.Path] = slices.Concat(begin, rest)
			return err
		})
		if err != nil {
			t.Fatalf("%s: %v", dump, err)
		}
		d.wantRestored(content[d.member()])
		if globals := string(content["postgres/globals.sql"]); !strings.Contains(globals, "SCRAM-SHA-256$") {
			t.Errorf("%s: globals: %.300s", dump, globals)
		}
		if fell := strings.Contains(log.String(), "own programs dump it"); fell != (dump == "auto") || strings.Contains(log.String(), "Password") || !strings.Contains(log.String(), "the ssh host's programs") {
			t.Errorf("%s: the log: %s", dump, log.String())
		}
		env.Credential = newEnv(t, "wrong").Credential
		_, err = probe(t, config, env)
		wantCode(t, err, job.AuthFailed, "credential")
	}
}

// shows lists the command lines and environments of processes that hold a text.
func shows(t *testing.T, text string) (found []string) {
	t.Helper()
	for _, file := range []string{"cmdline", "environ"} {
		paths, err := filepath.Glob("/proc/[0-9]*/" + file)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			if b, err := os.ReadFile(path); err == nil && strings.Contains(string(b), text) {
				found = append(found, path+": "+string(b))
			}
		}
	}
	return found
}

// What is left out, missing and denied is known over there, too.
func TestRemoteSurvey(t *testing.T) {
	t.Parallel()
	d := planted(t)
	ssh := noForwarding(t)
	remote := func(more map[string]any) (map[string]any, connectors.Env) {
		config, env := d.config(more), d.env()
		remotely(config, &env, ssh, ssh.Host(), ssh.Port(), "remote")
		return config, env
	}
	config, env := remote(map[string]any{"format": "plain", "schemas": []string{"Sch ema.ü"}, "exclude_tables": []string{`"Sch ema.ü".d*`}})
	got := mustCollect(t, open(t, postgres.Options{}, config, env)).content["postgres/"+d.name+".sql"]
	if !bytes.Contains(got, []byte(`COPY "Sch ema.ü".base`)) || bytes.Contains(got, []byte(`COPY "Sch ema.ü".derived`)) || bytes.Contains(got, []byte("COPY app.")) {
		t.Errorf("one schema: %.2000s", got)
	}
	for code, more := range map[job.Code]map[string]any{
		job.PathNotFound:     {"databases": []string{"no'where\n\\"}},
		job.PermissionDenied: {"username": d.role("secret", "")},
		job.AuthFailed:       {"username": "no such \"role'"},
	} {
		config, env := remote(more)
		if code == job.PermissionDenied {
			env.Credential = newEnv(t, "secret").Credential
		}
		_, err := probe(t, config, env)
		wantCode(t, err, code)
		t.Log(err)
	}
	config, env = remote(map[string]any{"schemas": []string{"now'here\n\\"}})
	_, err := collect(open(t, postgres.Options{}, config, env))
	wantCode(t, err, job.PathNotFound, d.name)
	_, err = postgres.New(postgres.Options{}).OpenTarget(canonical(t, config), env, connectors.TargetOptions{})
	wantCode(t, err, job.ConfigInvalid, "tunnel")
	env = newEnv(t, "two\nlines")
	env.SSHCredential = sshKey(ssh)
	_, err = probe(t, config, env)
	wantCode(t, err, job.ConfigInvalid, "line break", "tunnel")
}

// A server that trusts whoever is logged in at its machine needs no password at all.
func TestRemotePeer(t *testing.T) {
	t.Parallel()
	server := testenv.NewPostgres(t, testenv.PostgresOptions{})
	d := at(t, server.Database("shop"))
	ssh := noForwarding(t)
	hba := testenv.QueryPostgres(t, d.url.String(), "SHOW hba_file")[0]
	before, err := os.ReadFile(hba)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(hba, append([]byte("local all "+ssh.User+" peer\n"), before...), 0o600); err != nil {
		t.Fatal(err)
	}
	d.exec("SELECT pg_reload_conf()", "CREATE ROLE "+quoted(ssh.User)+" LOGIN", "GRANT pg_read_all_data TO "+quoted(ssh.User), "CREATE TABLE t AS SELECT 1 AS a")
	config, env := d.config(d.socket()), newEnv(t, "")
	config["username"] = ssh.User
	remotely(config, &env, ssh, ssh.Host(), ssh.Port(), "auto")
	delete(config["ssh"].(map[string]any), "credential_id") //nolint:errcheck // as above
	env.Credential = sshKey(ssh)
	var got dumped
	testenv.Eventually(t, 2*time.Minute, func() bool { // the server reads its rules in its own time
		got, err = collect(open(t, postgres.Options{}, config, env))
		return err == nil
	}, "no dump without a password")
	d.wantRestored(got.content[d.member()])
}

// F7: what a broken dump program over there may do.
func TestRemoteBreaks(t *testing.T) {
	t.Parallel()
	d := planted(t)
	ssh := noForwarding(t)
	const version = `[ "$1" = --version ] && exec $STOCK/pg_dump --version; `
	for name, c := range map[string]struct {
		script string
		texts  []string
	}{
		"plausible output, then failure": {version + `$STOCK/pg_dump "$@"; echo "pg_dump: error: out of luck" >&2; exit 1`, []string{"out of luck"}},
		"half a dump and success":        {version + `$STOCK/pg_dump "$@" | head -c 60000; exit 0`, []string{"to be sure of it"}},
		"nothing and success":            {version + `exit 0`, []string{"to be sure of it"}},
		"killed":                         {version + `$STOCK/pg_dump "$@" | head -c 60000; kill -9 $$`, []string{"137"}},
	} {
		config, env := d.config(nil), d.env()
		remotely(config, &env, ssh, ssh.Host(), ssh.Port(), "remote")
		dir := programs(t, map[string]string{"pg_dump": c.script})
		_, err := collect(open(t, postgres.Options{ClientFolders: []string{dir}}, config, env))
		wantCode(t, err, job.DumpFailed, c.texts...)
		t.Logf("%s: %v", name, err)
	}
}

// A dump that waits in the database ends there with its connection, and with its job.
func TestRemoteWaits(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	d.exec("CREATE TABLE locked (a int)")
	ssh := noForwarding(t)
	for what, cut := range map[string]bool{"canceled": false, "cut": true} {
		release := d.lock("locked")
		link := testenv.SlowLink(t, ssh.Addr(), 0)
		config, env := d.config(nil), d.env()
		remotely(config, &env, ssh, link.Host, link.Port, "remote")
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		source := open(t, postgres.Options{}, config, env)
		go func() {
			ended <- source.Read(ctx, func(item connectors.Item) error {
				_, err := io.Copy(io.Discard, item.Body)
				return err
			})
		}()
		waiting := func() string {
			return testenv.QueryPostgres(t, d.url.String(), "SELECT count(*)::text FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")[0]
		}
		testenv.Eventually(t, 2*time.Minute, func() bool { return waiting() == "1" }, "the dump does not wait")
		if cut {
			link.Cut()
		} else {
			cancel()
		}
		if err := <-ended; err == nil {
			t.Errorf("%s: it ended well", what)
		}
		testenv.Eventually(t, 2*time.Minute, func() bool { return waiting() == "0" }, "%s: it waits on", what)
		release()
		cancel()
	}
}

// lock holds a table until it is released.
func (d *database) lock(table string) (release func()) {
	d.t.Helper()
	holder, err := pgx.Connect(d.t.Context(), d.url.String())
	if err != nil {
		d.t.Fatal(err)
	}
	if _, err := holder.PgConn().Exec(d.t.Context(), "BEGIN; LOCK TABLE "+table+" IN ACCESS EXCLUSIVE MODE").ReadAll(); err != nil {
		d.t.Fatal(err)
	}
	return func() { _ = holder.Close(context.Background()) } // nothing was changed
}

func sshKey(ssh *testenv.SSHServer) job.Credential {
	return job.Credential{Type: "private_key", PrivateKey: secret.New(ssh.ClientKeyPEM)}
}

// canonical is a configuration as it is stored.
func canonical(t *testing.T, config map[string]any) []byte {
	t.Helper()
	text, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	valid, faults := postgres.Validate(text)
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	return valid
}
