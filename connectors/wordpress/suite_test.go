package wordpress

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"xvault/connectors"
	"xvault/connectors/connectortest"
	"xvault/connectors/mysql"
	"xvault/connectors/sftp"
	"xvault/connectors/sshtunnel"
	"xvault/internal/testenv"
)

// noSite are tests that mean nothing for a site, or are made for it elsewhere. A source has
// one path, its root: TestWhatFails and TestConfigIsALink tell what may be wrong with that,
// TestProbe how it is probed. TestMembers has exclusions, and files alone are no site.
var noSite = []string{"ReadsSeveralPaths", "FollowsAPathThatIsALink", "Excludes", "SourceIsEmpty", "PathIsMissing", "ProbeTellsOfPaths"}

// asSSH are tests of what the type ssh does, whose code it is. With the tag long a site
// passes them, too.
var asSSH = []string{"ManyNamesInOneFolder", "ManyFilesVanish", "LargeFileGrows", "LargeFileShrinks"}

func TestSuite(t *testing.T) {
	t.Parallel()
	connectortest.RunBut(t, served, slices.Concat(asSSH, noSite)...)
}

func TestRestores(t *testing.T) {
	t.Parallel()
	connectortest.RunRestores(t, served)
}

// served is a server for the suite: whatever tree there is becomes a site when a
// configuration names it.
func served(t *testing.T, o connectortest.Options) *connectortest.Server {
	t.Helper()
	const patience = 3 * time.Second
	opts := Options{MySQL: mysql.Options{Patience: time.Minute}}
	if o.Hasty {
		opts.SSH = sftp.Options{HandshakeTimeout: patience, KeepAlive: time.Second, StallAfter: patience}
		opts.MySQL.Tunnel = sshtunnel.Options{KeepAlive: time.Second}
	}
	if o.Own || o.Hasty {
		opts.Held = 1
	}
	s := connectortest.OverSSH(t, testenv.SSHOptions{}, o, New(opts), patience)
	s.HardLinks = true
	l := &lab{t: t, db: testenv.MariaDB(t), ssh: &testenv.SSHServer{Root: s.Root}, password: labPassword}
	l.name = l.db.Database()
	l.account = l.db.Account(l.password, "ALL PRIVILEGES ON "+testenv.QuoteName(l.name)+".*")
	rows := 1000
	if o.Own || o.Hasty { // the dump is still on its way while files are read
		rows = 6000
	}
	l.db.Do(l.name, "CREATE TABLE wp_options (option_name VARCHAR(191), option_value LONGTEXT)", `INSERT INTO wp_options VALUES ('siteurl', 'https://a.example')`,
		"CREATE TABLE zz_big (id INT PRIMARY KEY, t TEXT)", fmt.Sprintf("INSERT INTO zz_big SELECT seq, REPEAT(MD5(seq), 60) FROM seq_1_to_%d", rows))
	config := s.Config
	s.Config = func(host string, port int, paths ...string) map[string]any {
		t.Helper()
		c := config(host, port)
		delete(c, "paths")
		c["root"], c["include_caches"] = paths[0], true
		l.site(strings.TrimPrefix(paths[0], s.Root))
		return c
	}
	s.Place = func(raw map[string]any, name string) (string, bool) {
		root := fmt.Sprint(raw["root"])
		return root[1:] + strings.TrimPrefix(name, filesFolder), name == filesFolder || strings.HasPrefix(name, filesFolder+"/")
	}
	s.Lend = func(t *testing.T, env *connectors.Env) {
		t.Helper()
		dir := t.TempDir()
		env.TempDir = func() (string, error) { return dir, nil }
	}
	s.Back = l.back
	s.Kills = append([]connectortest.Kill{{What: "the database's sessions", Do: func() {
		for _, row := range l.db.Query("", "SELECT id FROM information_schema.processlist WHERE user = '"+l.account+"'") {
			l.db.Do("", "KILL CONNECTION "+row[0])
		}
	}}}, s.Kills...)
	return s
}

// site makes a folder below the one that is served a site, if it is none.
func (l *lab) site(folder string) {
	l.t.Helper()
	if _, err := os.Lstat(l.ssh.Root + folder + "/wp-load.php"); err == nil {
		return
	}
	for _, name := range []string{"wp-load.php", "wp-settings.php", "wp-content/plugins/hello.php"} {
		l.write(folder+"/"+name, "<?php")
	}
	l.write(folder+"/wp-includes/version.php", "<?php\n$wp_version = '6.5.4';\n")
	l.configure(folder+"/wp-config.php", "")
}

// back makes a site that is restored beside itself.
func (l *lab) back(t *testing.T, bytes int) connectortest.Back {
	t.Helper()
	l.mayMake()
	const suffix = "_restored_00000001"
	l.site("/site")
	l.write("site/wp-content/uploads/film", strings.Repeat("0123456789abcdef", bytes/16))
	folder, name := "site"+suffix, l.name+suffix
	drop := func(t *testing.T) {
		t.Helper()
		l.db.Do("", "DROP DATABASE IF EXISTS "+name)
		if err := os.RemoveAll(filepath.Join(l.ssh.Root, folder)); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(func() { drop(t) })
	whole := func(t *testing.T) {
		t.Helper()
		for _, file := range []string{"wp-load.php", "wp-content/uploads/film"} {
			if l.file(folder+"/"+file) != l.file("site/"+file) {
				t.Errorf("%s is not what it was", file)
			}
		}
		if !strings.Contains(l.file(folder+"/wp-config.php"), "'"+name+"'") {
			t.Errorf("wp-config.php does not name %s", name)
		}
		l.db.SameContent(l.db.Content(l.name), l.db.Content(name))
	}
	return connectortest.Back{
		Name: filepath.Join(l.ssh.Root, "site"), Drop: drop, Whole: whole,
		Failed: func(t *testing.T, told string) {
			t.Helper()
			if _, err := os.Lstat(filepath.Join(l.ssh.Root, folder, configName)); err == nil {
				whole(t) // it is the last to be written
			}
			switch {
			case len(l.db.Query("", "SHOW DATABASES LIKE '"+name+"'")) == 0:
			case len(l.db.Query(name, "SHOW TABLES LIKE '"+connectors.TempPrefix+connectortest.TargetJob+"'")) != 1:
				l.db.SameContent(l.db.Content(l.name), l.db.Content(name))
			case !strings.Contains(told, name) || !strings.Contains(told, "is not whole"):
				t.Errorf("%s is half there, and not told of: %s", name, told)
			}
		},
	}
}
