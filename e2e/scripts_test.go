package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"xvault/e2e/system"
	"xvault/internal/testenv"
)

// TestScripts runs the stories in scripts/*.txtar: xVault as people type it,
// from the binary that people get. Beside testscript's own commands there are
//
//	start NAME PROGRAM ARGS...  a program that runs until it is stopped, or the script ends
//	stop NAME, kill NAME        with SIGTERM and a clean end, or with SIGKILL
//	ready URL                   waits until URL answers with 200
//	get STATUS URL              prints what URL answers, which must be with STATUS
//	field VAR NAME...           VAR is that field of the JSON that the last command printed
//	sql QUERY                   prints rows from the catalog
//	until PATTERN QUERY         waits until the rows are PATTERN
//	redis                       prints all that is in Redis
//	nowhere TEXT...             the text is not in the catalog and not in Redis, in any encoding
//	plant DIR                   writes a tree with every awkwardness
//	same DIR DIR                the trees are equal in content, mode, times, owners, links
//	database mysql|postgres     a database on a real server, $DB_NAME at 127.0.0.1:$DB_PORT; no account is called $DB_ACCOUNT or $DB_OTHER
//	administer FILE             the stock client runs this SQL there, as the server's administrator
//	samedatabase FILE           this dump loads as the same database
//	site DIR                    a WordPress in that folder, whose database is $DB_NAME
func TestScripts(t *testing.T) {
	t.Parallel()
	update := false
	testscript.Run(t, testscript.Params{
		Dir:                 "scripts",
		Setup:               setUpScript,
		UpdateScripts:       update,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"start": cmdStart, "stop": cmdStop, "kill": cmdKill, "ready": cmdReady, "get": cmdGet, "field": cmdField, "sql": cmdSQL, "until": cmdUntil,
			"redis": cmdRedis, "nowhere": cmdNowhere, "plant": cmdPlant, "same": cmdSame,
			"database": cmdDatabase, "administer": cmdAdminister, "samedatabase": cmdSameDatabase, "site": cmdSite,
		},
	})
}

type stageKey struct{}

// stage is what one script stands on.
type stage struct {
	tb      testing.TB
	catalog system.Catalog
	redis   *testenv.RedisServer
	running map[string]*system.Process
	// database is the last one that the script made.
	database scriptDatabase
}

func setUpScript(env *testscript.Env) error {
	tb, ok := env.T().(testing.TB)
	if !ok {
		return fmt.Errorf("testscript's T is no testing.TB but %T", env.T())
	}
	st := &stage{tb: tb, catalog: system.Catalog{URL: testenv.Postgres(tb)}, redis: testenv.Redis(tb), running: map[string]*system.Process{}}
	env.Values[stageKey{}] = st
	ssh := testenv.SSHD(tb, testenv.SSHOptions{})
	hub, worker := system.FreePort(tb), system.FreePort(tb)
	key := filepath.Join(env.WorkDir, "id_ed25519")
	if err := os.WriteFile(key, []byte(ssh.ClientKeyPEM), 0o600); err != nil {
		return err
	}
	for name, value := range map[string]string{
		"PATH": filepath.Dir(system.Binary(tb, system.Released)) + ":" + os.Getenv("PATH"),
		"HOME": env.WorkDir, "TZ": "UTC",
		"DATABASE_URL": st.catalog.URL, "REDIS_URL": st.redis.URL,
		"HUB_ADDR": fmt.Sprintf("127.0.0.1:%d", hub), "WORKER_ADDR": fmt.Sprintf("127.0.0.1:%d", worker),
		"SSH_HOST": ssh.Host(), "SSH_PORT": fmt.Sprint(ssh.Port()), "SSH_USER": ssh.User, "SSH_HOST_KEY": ssh.HostKey(),
		"SSH_KEY_FILE": key, "SSH_KEY_TEXT": keyBody(ssh.ClientKeyPEM), "ROOT": ssh.Root, "SSH_AUTHORIZED_KEYS": ssh.AuthorizedKeys(),
	} {
		env.Setenv(name, value)
	}
	return nil
}

func of(ts *testscript.TestScript) *stage {
	st, ok := ts.Value(stageKey{}).(*stage)
	if !ok {
		ts.Fatalf("no stage")
	}
	return st
}

func need(ts *testscript.TestScript, neg, ok bool, usage string) {
	if neg || !ok {
		ts.Fatalf("usage: %s", usage)
	}
}

func cmdStart(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) >= 2, "start NAME PROGRAM ARGS...")
	st := of(ts)
	var env []string
	for _, name := range []string{"PATH", "HOME", "TZ"} {
		env = append(env, name+"="+ts.Getenv(name))
	}
	// Settings come as arguments before the program, as with env(1).
	rest := args[1:]
	for len(rest) > 0 && strings.Contains(rest[0], "=") {
		env = append(env, rest[0])
		rest = rest[1:]
	}
	need(ts, neg, len(rest) > 0, "start NAME [SETTING=VALUE...] PROGRAM ARGS...")
	if rest[0] == "xvault" {
		rest[0] = system.Binary(st.tb, system.Released)
	}
	p := system.Spawn(st.tb, args[0], ts.MkAbs("."), env, rest...)
	st.running[args[0]] = p
	ts.Defer(func() {
		p.Kill()
		ts.Logf("--- end of the log of %s\n%s", p.Name, p.Tail(40))
	})
}

func cmdStop(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 1, "stop NAME")
	st := of(ts)
	p := st.running[args[0]]
	p.Signal(st.tb, syscall.SIGTERM)
	if code := p.WaitExit(st.tb, 30*time.Second); code != 0 {
		ts.Fatalf("%s ended with code %d", args[0], code)
	}
}

func cmdKill(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 1, "kill NAME")
	of(ts).running[args[0]].Kill()
}

func cmdReady(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 1, "ready URL")
	c := system.NewClient("", "")
	testenv.Eventually(of(ts).tb, 2*time.Minute, func() bool {
		r, err := c.Try("GET", args[0], nil)
		return err == nil && r.Status == 200
	}, "%s does not answer with 200", args[0])
}

func cmdGet(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 2, "get STATUS URL")
	r, err := system.NewClient("", "").Try("GET", args[1], nil)
	ts.Check(err)
	if fmt.Sprint(r.Status) != args[0] {
		ts.Fatalf("%s", r)
	}
	_, err = ts.Stdout().Write(r.Body)
	ts.Check(err)
}

func cmdField(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) >= 2, "field VAR NAME...")
	var v any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &v))
	for _, name := range args[1:] {
		object, ok := v.(map[string]any)
		if !ok || object[name] == nil {
			ts.Fatalf("there is no %q in %s", name, ts.ReadFile("stdout"))
		}
		v = object[name]
	}
	ts.Setenv(args[0], fmt.Sprint(v))
}

func cmdSQL(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 1, "sql QUERY")
	for _, row := range of(ts).catalog.Rows(of(ts).tb, args[0]) {
		_, err := fmt.Fprintln(ts.Stdout(), strings.Join(row, " "))
		ts.Check(err)
	}
}

func cmdUntil(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 2, "until VALUE QUERY")
	st := of(ts)
	testenv.Eventually(st.tb, 2*time.Minute, func() bool { return st.catalog.One(st.tb, args[1]) == args[0] }, "%s is not %s", args[1], args[0])
}

func cmdRedis(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 0, "redis")
	_, err := ts.Stdout().Write(system.DumpRedis(of(ts).tb, of(ts).redis.Addr))
	ts.Check(err)
}

func cmdNowhere(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) > 0, "nowhere TEXT...")
	st, canaries := of(ts), system.Canaries{}
	for _, text := range args {
		canaries.Add(text, text)
	}
	for _, found := range canaries.Search([]byte(testenv.DumpPostgres(st.tb, st.catalog.URL))) {
		ts.Fatalf("in the catalog: %s", found)
	}
	for _, found := range canaries.Search(system.DumpRedis(st.tb, st.redis.Addr)) {
		ts.Fatalf("in Redis: %s", found)
	}
}

func cmdPlant(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 1, "plant DIR")
	system.Plant(of(ts).tb, ts.MkAbs(args[0]), 99, 200)
}

func cmdSame(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 2, "same DIR DIR")
	tb := of(ts).tb
	system.Scan(tb, ts.MkAbs(args[0])).MustEqual(tb, system.Scan(tb, ts.MkAbs(args[1])))
}
