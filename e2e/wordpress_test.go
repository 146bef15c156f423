package e2e

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"xvault/e2e/system"
	"xvault/internal/devenv"
	"xvault/internal/secret"
	"xvault/internal/testenv"
)

// wordPressScene is a tenant with a source that is a WordPress site, which is served.
type wordPressScene struct {
	*system.Lab
	t        *testing.T
	db       *testenv.MariaDBServer
	ssh      *testenv.SSHServer
	site     *testenv.WordPressSite
	config   devenv.WordPressConfig
	identity string
	tenant   string
	password string // of the database
	login    string // the credential
	source   string
}

func newWordPressScene(t *testing.T, post string) *wordPressScene {
	t.Helper()
	s := &wordPressScene{t: t, db: testenv.MariaDB(t), ssh: testenv.SSHD(t, testenv.SSHOptions{}), password: `canary 'pass' "word" % \ ü $dollar`}
	name := s.db.Database()
	s.config = devenv.WordPressConfig{
		Root: filepath.Join(s.ssh.Root, "site"), Database: name, DBHost: "localhost:" + s.db.Socket(), Password: secret.New(s.password),
		User: s.db.Account(s.password, "ALL PRIVILEGES ON "+testenv.QuoteName(name)+".*"),
	}
	s.site = testenv.WordPress(t, s.config, post)
	s.Lab = system.Start(t, system.Options{})
	tenant := s.API.CreateTenant(t, "a tenant")
	s.tenant, s.identity = tenant.ID, s.API.ExportKey(t, tenant.ID)
	s.login = s.API.CreateCredential(t, s.tenant, system.PrivateKey(s.ssh.ClientKeyPEM))
	s.source = s.create(nil)
	return s
}

// create makes the source, with more settings than the needed ones.
func (s *wordPressScene) create(more map[string]any) string {
	s.t.Helper()
	config := s.ssh.Config()
	delete(config, "paths")
	config["root"] = s.config.Root
	maps.Copy(config, more)
	return system.Post[system.Object](s.t, s.API, "/api/v1/sources", map[string]any{
		"tenant_id": s.tenant, "type": "wordpress", "name": "a site", "credential_id": s.login, "config": config,
	}).ID
}

// bareSite is no more of a site than what is looked at, with its password in wp-config.php
// alone; it gives the configuration of its source.
func bareSite(t *testing.T, db *testenv.MariaDBServer, ssh *testenv.SSHServer, password string) map[string]any {
	t.Helper()
	name := db.Database()
	account := db.Account(password, "ALL ON "+name+".*")
	db.Do(name, "CREATE TABLE wp_options (option_name VARCHAR(50) PRIMARY KEY, option_value TEXT)", "INSERT INTO wp_options VALUES ('siteurl', 'https://a.example'), ('home', 'https://a.example')")
	root := filepath.Join(ssh.Root, "site")
	must(t, os.Mkdir(root, 0o755))
	must(t, os.WriteFile(filepath.Join(root, "wp-load.php"), []byte("<?php"), 0o600))
	must(t, os.WriteFile(filepath.Join(root, "wp-config.php"), []byte("<?php\ndefine('DB_NAME', '"+name+"');\ndefine('DB_USER', '"+account+"');\ndefine('DB_PASSWORD', '"+
		strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(password)+"');\ndefine('DB_HOST', 'localhost:"+db.Socket()+"');\n$table_prefix = 'wp_';\n"), 0o600))
	config := ssh.Config()
	delete(config, "paths")
	config["root"] = root
	return config
}

// backup makes one, and gives the folder into which the stock tools extracted it.
func (s *wordPressScene) backup() string {
	s.t.Helper()
	j := s.MustComplete(s.API.StartBackup(s.t, s.source).ID, 2*time.Minute)
	snap := s.API.Snapshot(s.t, j.SnapshotID)
	if snap.Status != "completed" {
		s.t.Fatalf("%s has snapshot %+v", j, snap)
	}
	drillOf(s.t, s.Lab, snap.ID)
	return system.StockRestore(s.t, filepath.Join(snap.LocalPath, system.Artifact), s.identity)
}

// The whole way: a site that is served is backed up, and what the stock tools take out
// of the artifact is served again, from another folder, another database and another
// address.
func TestWordPress(t *testing.T) {
	t.Parallel()
	const post = "What the baker’s cat knows 🐈"
	s := newWordPressScene(t, post)
	if page := s.site.Page("/"); !strings.Contains(page, post) {
		t.Fatalf("the site does not show its post: %.3000s", page)
	}
	must(t, os.MkdirAll(filepath.Join(s.config.Root, "wp-content/cache/pages"), 0o755))
	must(t, os.WriteFile(filepath.Join(s.config.Root, "wp-content/cache/pages/a.html"), []byte("made anew"), 0o600))
	must(t, os.MkdirAll(filepath.Join(s.config.Root, "wp-content/uploads"), 0o755))
	must(t, os.WriteFile(filepath.Join(s.config.Root, "wp-content/uploads/cat.jpg"), []byte("a picture"), 0o600))

	want := s.db.Content(s.config.Database)
	out := s.backup()
	s.aboutIn(out)
	if _, err := os.Stat(filepath.Join(out, "files/wp-content/cache")); !os.IsNotExist(err) {
		t.Errorf("the cache was stored: %v", err)
	}
	copied := s.restored(out, want)
	page := copied.Page("/")
	if !strings.Contains(page, post) || strings.Contains(page, s.site.URL()) {
		t.Errorf("the restored site shows %.3000s", page)
	}

	s.putBack(post, want)

	probe := s.MustComplete(system.Post[system.Job](t, s.API, "/api/v1/sources/"+s.source+"/probe", nil).ID, 3*time.Minute)
	for _, tell := range []string{"WordPress 6.", s.config.Database, "wp-config.php", `"reachable":true`} {
		if !strings.Contains(string(probe.Result), tell) {
			t.Errorf("the probe does not tell %q: %s", tell, probe.Result)
		}
	}
	for _, found := range canaryOf("the database's password", s.password).SearchFiles(t, s.Dir) {
		t.Error(found)
	}
	s.CheckRecords()
}

// putBack restores the last snapshot to the server: a copy of the site that runs at
// another address, with a database of its own. An account that may make no database is
// told what to do.
func (s *wordPressScene) putBack(post string, want map[string]string) {
	s.t.Helper()
	snapshots := system.List[system.Snapshot](s.t, s.API, "/api/v1/snapshots?source_id="+s.source)
	manifest, err := os.ReadFile(filepath.Join(snapshots[0].LocalPath, "manifest.json"))
	must(s.t, err)
	if !strings.Contains(string(manifest), `"wordpress": {`) || !strings.Contains(string(manifest), "Akismet") || strings.Contains(string(manifest), "akismet.php") {
		s.t.Errorf("the manifest: %s", manifest)
	}
	copied := devenv.WordPressConfig{Root: filepath.Join(s.ssh.Root, "copy")}
	copied.Port, err = devenv.FreePort()
	must(s.t, err)
	address := "http://127.0.0.1:" + strconv.Itoa(copied.Port)
	request := map[string]any{"destination": "source", "target_path": copied.Root, "url": address + "/"}
	restore := func() system.Job {
		return s.WaitJob(system.Post[system.Job](s.t, s.API, "/api/v1/snapshots/"+snapshots[0].ID+"/restore", request).ID, 2*time.Minute)
	}
	if j := restore(); j.Status != "failed" || j.Error == nil || j.Error.Code != "permission_denied" || !strings.Contains(j.Error.Message, "--database") {
		s.t.Fatalf("without the right to make a database: %s", j)
	}
	if _, err := os.Stat(copied.Root); !os.IsNotExist(err) {
		s.t.Errorf("a restore that could not begin left something: %v", err)
	}
	s.db.Do("", "GRANT ALL ON `"+strings.ReplaceAll(s.config.Database, "_", `\_`)+"\\_restored%`.* TO "+s.config.User)
	j := restore()
	if j.Status != "completed" {
		s.t.Fatalf("%s: %s", j, j.Result)
	}
	site := testenv.ServeWordPress(s.t, copied)
	if page := site.Page("/"); !strings.Contains(page, post) || strings.Contains(page, s.site.URL()) {
		s.t.Errorf("the restored site shows %.3000s\n%s", page, j.Result)
	}
	if page := s.site.Page("/"); !strings.Contains(page, post) || strings.Contains(page, address) {
		s.t.Errorf("the site that was copied shows %.3000s", page)
	}
	config, err := os.ReadFile(filepath.Join(copied.Root, "wp-config.php"))
	must(s.t, err)
	name := regexp.MustCompile(s.config.Database + `_restored\w*`).FindString(string(config))
	s.sameRows(want, s.db.Content(name), "wp_posts", "wp_users") // the others hold no address
	s.t.Logf("%s", j.Result)
}

// sameRows expects a copy to have the same tables with the same rows, but for those that
// the running site writes by itself; of those that changed with its address the same number.
func (s *wordPressScene) sameRows(want, got map[string]string, moved ...string) {
	s.t.Helper()
	want, got = maps.Clone(want), maps.Clone(got)
	for _, content := range []map[string]string{want, got} {
		delete(content, "rows of wp_options") // every visit may leave something there
		content["BASE TABLE wp_options"] = regexp.MustCompile(`AUTO_INCREMENT=\d+`).ReplaceAllString(content["BASE TABLE wp_options"], "")
		for _, table := range moved {
			content["rows of "+table], _, _ = strings.Cut(content["rows of "+table], " ")
		}
	}
	s.db.SameContent(want, got)
}

// aboutIn checks wordpress.json.
func (s *wordPressScene) aboutIn(dir string) {
	s.t.Helper()
	raw, err := os.ReadFile(filepath.Join(dir, "wordpress.json"))
	must(s.t, err)
	var about struct {
		WordPress struct {
			Version string `json:"version"`
		} `json:"wordpress"`
		Site struct {
			URL       string `json:"site_url"`
			Multisite bool   `json:"multisite"`
		} `json:"site"`
		Database struct {
			Name, Member string
			Prefix       string `json:"table_prefix"`
		} `json:"database"`
		Plugins, Themes []struct {
			File, Name, Version string
			Active              bool
		}
	}
	must(s.t, json.Unmarshal(raw, &about))
	if !strings.HasPrefix(about.WordPress.Version, "6.") || about.Site.URL != s.site.URL() || about.Site.Multisite ||
		about.Database.Name != s.config.Database || about.Database.Member != "mysql/"+s.config.Database+".sql" || about.Database.Prefix != "wp_" {
		s.t.Errorf("wordpress.json: %s", raw)
	}
	if len(about.Plugins) != 1 || about.Plugins[0].File != "akismet/akismet.php" || about.Plugins[0].Version == "" || about.Plugins[0].Active ||
		len(about.Themes) != 1 || about.Themes[0].File != "twentytwentythree" || about.Themes[0].Version == "" {
		s.t.Errorf("plugins and themes in wordpress.json: %s", raw)
	}
	if strings.Contains(string(raw), "canary") {
		s.t.Error("there is a secret in wordpress.json")
	}
}

// restored puts a site up anew elsewhere.
func (s *wordPressScene) restored(dir string, want map[string]string) *testenv.WordPressSite {
	s.t.Helper()
	name := s.db.Database()
	dump, err := os.ReadFile(filepath.Join(dir, "mysql", s.config.Database+".sql"))
	must(s.t, err)
	must(s.t, s.db.Load(name, string(dump)))
	s.sameRows(want, s.db.Content(name))
	user := s.db.Account("another one", "ALL PRIVILEGES ON "+testenv.QuoteName(name)+".*")
	root := filepath.Join(dir, "files")
	file := filepath.Join(root, "wp-config.php")
	config, err := os.ReadFile(file)
	must(s.t, err)
	changed := strings.NewReplacer("'"+s.config.Database+"'", "'"+name+"'", "'"+s.config.User+"'", "'"+user+"'", `'canary \'pass\' "word" % \\ ü $dollar'`, "'another one'").Replace(string(config))
	must(s.t, os.WriteFile(file, []byte(changed), 0o600))
	site := testenv.ServeWordPress(s.t, devenv.WordPressConfig{Root: root})
	s.db.Do(name, "UPDATE wp_options SET option_value = "+testenv.QuoteText(site.URL())+" WHERE option_name IN ('siteurl', 'home')")
	return site
}
