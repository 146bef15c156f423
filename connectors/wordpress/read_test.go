package wordpress

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"xvault/connectors"
	"xvault/internal/entry"
	"xvault/internal/job"
	"xvault/internal/testenv"
)

// The members have the names that are promised, in the order of an archive.
func TestMembers(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	if err := os.Link(filepath.Join(l.root, "wp-load.php"), filepath.Join(l.root, "wp-twin.php")); err != nil {
		t.Fatal(err)
	}
	members, order, err := l.read(nil)
	if err != nil {
		t.Fatalf("%v\n%s", err, l.log.String())
	}
	if order[0] != "files" || !slices.IsSorted(order[len(order)-2:]) || order[len(order)-2] != "mysql/"+l.name+".sql" || order[len(order)-1] != "wordpress.json" {
		t.Errorf("the order is %q", order)
	}
	if members["files/wp-content/uploads/cat.jpg"] != "a picture" || !strings.Contains(members["files/wp-config.php"], "DB_NAME") || members["files/wp-twin.php"] != "files/wp-load.php" {
		t.Errorf("members: %q", members)
	}
	if _, ok := members["files/wp-content/cache"]; ok {
		t.Error("the cache is stored")
	}
	dump := members["mysql/"+l.name+".sql"]
	if !strings.Contains(dump, "https://a.example") || !strings.Contains(dump, "-- Dump completed") {
		t.Errorf("the dump: %.500s", dump)
	}
	for _, tell := range []string{`"version": "6.5.4"`, `"file": "a/a b.php"`, `"name": "A & B"`, `"version": "1.2"`, `"file": "hello.php"`, `"file": "must.php"`, `"file": "bare"`, `"table_prefix": "wp_"`, `"site_url": "https://a.example"`, `"multisite": false`} {
		if !strings.Contains(members["wordpress.json"], tell) {
			t.Errorf("wordpress.json does not tell %s: %s", tell, members["wordpress.json"])
		}
	}
	src := l.source()
	if err := src.Read(t.Context(), func(item connectors.Item) error {
		if item.Body == nil {
			return nil
		}
		_, err := io.Copy(io.Discard, item.Body)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	described, ok := src.(connectors.Described)
	if s := described.Software(); !ok || s == nil || s.Version != "6.5.4" || len(s.Plugins) != 2 || s.Plugins[0] != (connectors.Component{Name: "A & B", Version: "1.2", Active: true}) || len(s.MustUse) != 1 || len(s.Themes) != 1 {
		t.Errorf("for the manifest: %+v", s)
	}
	if strings.Contains(members["wordpress.json"], "dollar") || strings.Contains(l.log.String(), "dollar") {
		t.Error("the password shows")
	}
	l.config["include_caches"] = true
	if members, _, err = l.read(nil); err != nil || members["files/wp-content/cache/page.html"] != "made anew" {
		t.Errorf("with caches: %v, %q", err, members)
	}
	l.config["include_caches"], l.config["exclude"] = false, []string{"uploads/", "!" + l.root + "/wp-content/cache/"}
	if members, _, err = l.read(nil); err != nil || members["files/wp-content/cache/page.html"] == "" || members["files/wp-content/uploads/cat.jpg"] != "" {
		t.Errorf("with other exclusions: %v, %q", err, members)
	}
}

// The database is as of before the first file, also where it is too large to be held,
// and where the server hangs up on those that read slowly.
func TestDatabaseIsReadFirst(t *testing.T) {
	t.Parallel()
	for what, held := range map[string]int64{"held in memory": 0, "waiting": 1} {
		l := newLab(t)
		l.options.Held = held
		l.db.Do(l.name, "CREATE TABLE zz_big (id INT PRIMARY KEY, t TEXT) ENGINE=InnoDB", "INSERT INTO zz_big SELECT seq, REPEAT(MD5(seq), 60) FROM seq_1_to_1500")
		changed := false
		members, _, err := l.read(func(item connectors.Item) {
			if !changed && item.Kind == entry.File {
				changed = true
				l.db.Do(l.name, "UPDATE zz_big SET t = 'too late'", "INSERT INTO wp_options VALUES ('blogname', 'too late')")
			}
		})
		dump := members["mysql/"+l.name+".sql"]
		if err != nil || !changed || strings.Contains(dump, "too late") || len(dump) < 1500*60*32 || !strings.Contains(dump[len(dump)-100:], "-- Dump completed") {
			t.Errorf("%s: %v, %d bytes, late %v\n%s", what, err, len(dump), strings.Contains(dump, "too late"), l.log.String())
		}
		if waited := strings.Contains(l.log.String(), "larger than what is held"); waited != (held == 1) {
			t.Errorf("%s: waited %v", what, waited)
		}
	}
}

// wp-config.php may lie one folder above, folders of the content may be links.
func TestOtherPlaces(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	for _, move := range [][2]string{{"site/wp-config.php", "wp-config.php"}, {"site/wp-content/uploads", "shared"}} {
		if err := os.Rename(filepath.Join(l.ssh.Root, move[0]), filepath.Join(l.ssh.Root, move[1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("../../shared", filepath.Join(l.root, "wp-content/uploads")); err != nil {
		t.Fatal(err)
	}
	members, order, err := l.read(nil)
	if err != nil || members["files/wp-content/uploads/cat.jpg"] != "a picture" || !strings.Contains(members["wp-config.php"], "DB_NAME") || order[len(order)-1] != "wp-config.php" {
		t.Errorf("%v, %q", err, order)
	}
	if about := members["wordpress.json"]; !strings.Contains(about, `"config": "wp-config.php"`) || !strings.Contains(about, `"files/wp-content/uploads"`) {
		t.Errorf("wordpress.json: %s", about)
	}
	l.write("wp-settings.php", "<?php")
	l.failed("the one above is another site's", job.PathNotFound, "wp-config.php")
}

// A wp-config.php that is a link is stored as what it leads to, so that a copy of the site
// does not get to the site's own.
func TestConfigIsALink(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.mayMake()
	was := l.file("site/wp-config.php")
	l.write("shared/wp-config.php", was)
	if err := os.Remove(filepath.Join(l.root, "wp-config.php")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../shared/wp-config.php", filepath.Join(l.root, "wp-config.php")); err != nil {
		t.Fatal(err)
	}
	members, order, err := l.read(nil)
	if err != nil || members["files/wp-config.php"] != was || order[0] != "files" || !slices.IsSorted(order[:len(order)-2]) {
		t.Errorf("%v, %q: %q", err, order, members["files/wp-config.php"])
	}
	l.siteRestored(l.stored(), "site_restored_aaaaaaaa/wp-config.php", "'"+l.name+"_restored_aaaaaaaa'")
	if l.file("shared/wp-config.php") != was {
		t.Error("the site's own wp-config.php was written to")
	}
}

// What wp-config.php includes may be closed to the user, and not to the site: then nobody
// knows which settings count.
func TestIncludesAreClosed(t *testing.T) {
	t.Parallel()
	l := newLabOn(t, testenv.MariaDB(t), testenv.SSHOptions{User: "nobody"})
	l.write("site/local.php", "<?php define('DB_NAME', 'other');")
	name := filepath.Join(l.root, "local.php")
	if err := os.Chmod(name, 0o600); err != nil {
		t.Fatal(err)
	}
	whole := strings.TrimPrefix(l.file("site/wp-config.php"), "<?php")
	for _, begin := range []string{"if (file_exists(__DIR__ . '/local.php')) include __DIR__ . '/local.php';", "@include 'local.php';"} {
		l.write("site/wp-config.php", "<?php\n"+begin+whole)
		l.failed(begin, job.ConfigInvalid, name, "permission")
	}
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	if members, _, err := l.read(nil); err != nil || members["files/wp-config.php"] == "" {
		t.Errorf("without the file: %v", err)
	}
}

// A network of sites tells how many there are, and which plugins all of them use.
func TestMultisite(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.db.Do(l.name, "CREATE TABLE wp_blogs (blog_id INT)", "INSERT INTO wp_blogs VALUES (1), (2)", "CREATE TABLE wp_sitemeta (meta_key TEXT, meta_value TEXT)",
		`INSERT INTO wp_sitemeta VALUES ('active_sitewide_plugins', 'a:1:{s:9:"hello.php";i:1;}')`)
	l.configure("site/wp-config.php", "define('MULTISITE', true);")
	members, _, err := l.read(nil)
	about := members["wordpress.json"]
	if err != nil || !strings.Contains(about, `"multisite": true`) || !strings.Contains(about, `"sites": 2`) || strings.Count(about, `"active": true`) != 4 {
		t.Errorf("%v, %s", err, about)
	}
}

// A login that may only read over SFTP is enough, if it may reach the database.
func TestOnlySFTP(t *testing.T) {
	t.Parallel()
	l := newLabOn(t, testenv.MariaDB(t), testenv.SSHOptions{Extra: []string{"ForceCommand internal-sftp -R"}})
	members, _, err := l.read(nil)
	if err != nil || members["files/wp-content/uploads/cat.jpg"] == "" || members["mysql/"+l.name+".sql"] == "" {
		t.Errorf("%v, %d members", err, len(members))
	}
	// Otherwise the site's own machine has to have the programs, and may have to run them.
	none := []string{"AllowTcpForwarding no", "AllowStreamLocalForwarding no"}
	l = newLabOn(t, testenv.MariaDB(t), testenv.SSHOptions{Extra: none})
	members, _, err = l.read(nil)
	if err != nil || members["mysql/"+l.name+".sql"] == "" || !strings.Contains(l.log.String(), "own programs dump it") {
		t.Errorf("%v, %d members, %s", err, len(members), l.log.String())
	}
	l = newLabOn(t, testenv.MariaDB(t), testenv.SSHOptions{Extra: append(none, "ForceCommand internal-sftp -R")})
	l.failed("no way to the database", job.ConnectFailed, "AllowStreamLocalForwarding", "ForceCommand")
}

// What is wrong with the site or its database fails before anything is stored.
func TestWhatFails(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	file := "site/wp-config.php"
	for _, c := range []struct {
		what, more string
		code       job.Code
		tells      string
	}{
		{"content outside", "define('WP_CONTENT_DIR', '/srv/elsewhere');", job.ConfigInvalid, "content_outside"},
		{"an unknown content", "define('WP_CONTENT_DIR', getenv('C'));", job.ConfigInvalid, "getenv('C')"},
		{"another prefix", "$table_prefix = 'other_';", job.PathNotFound, "$table_prefix"},
		{"a bad prefix", "$table_prefix = 'a-b';", job.ConfigInvalid, "letters"},
	} {
		l.configure(file, c.more)
		l.failed(c.what, c.code, c.tells)
	}
	l.write(file, "<?php define('DB_NAME', getenv('NAME'));")
	l.failed("an unknown name", job.ConfigInvalid, "DB_NAME", "getenv('NAME')")
	l.write(file, "<?php if ($_SERVER['HTTP_HOST'] == 'a') { define('DB_NAME', 'a'); } else { define('DB_NAME', 'b'); }")
	l.failed("two names", job.ConfigInvalid, "DB_NAME", "condition")
	good := l.password
	l.password = "another $dollar one"
	l.configure(file, "")
	l.failed("another password", job.AuthFailed, "password")
	l.password = good
	name := l.name
	l.name = "not_there"
	l.configure(file, "")
	l.failed("no such database", job.PermissionDenied)
	l.name = name
	l.write(file, "<?php define('DB_NAME', 'a'); define('DB_USER', 'b'); define('DB_PASSWORD', ''); define('DB_HOST', '127.0.0.1:1'); $table_prefix = 'wp_';")
	l.failed("no database there", job.ConnectFailed, "127.0.0.1:1")
	if err := os.Remove(filepath.Join(l.root, "wp-config.php")); err != nil {
		t.Fatal(err)
	}
	l.failed("no configuration", job.PathNotFound, "wp-config.php", l.root)
	l.config["root"] = l.ssh.Root + "/nowhere"
	l.failed("no folder", job.PathNotFound, "root")
}

// A probe tells what it found.
func TestProbe(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	result, err := l.source().Probe(t.Context())
	if err != nil || len(result.Paths) != 3 || !result.Paths[0].Reachable || !result.Paths[2].Reachable || !strings.Contains(result.ServerVersion, "WordPress 6.5.4") || result.HostKey == "" {
		t.Errorf("%v, %+v", err, result)
	}
	l.password = "another"
	l.configure("site/wp-config.php", "")
	result, err = l.source().Probe(t.Context())
	if job.CodeOf(err) != job.AuthFailed || len(result.Paths) != 3 || result.Paths[2].Reachable {
		t.Errorf("with another password: %v, %+v", err, result)
	}
	l.config["root"] = l.ssh.Root
	result, err = l.source().Probe(t.Context())
	if job.CodeOf(err) != job.PathNotFound || result.HostKey == "" {
		t.Errorf("with another root: %v, %+v", err, result)
	}
}
