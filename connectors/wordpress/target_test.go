package wordpress

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"xvault/connectors"
	"xvault/internal/entry"
	"xvault/internal/job"
)

// stored is a backup, as an archive would give it back.
type stored struct {
	items    []connectors.TargetItem
	contents []string
}

func (l *lab) stored() *stored {
	l.t.Helper()
	s := &stored{}
	err := l.source().Read(l.t.Context(), func(item connectors.Item) error {
		content := []byte{}
		var err error
		if item.Kind == entry.File {
			content, err = io.ReadAll(item.Body)
			item.Size = int64(len(content))
		}
		s.items = append(s.items, connectors.TargetItem{Header: item.Header})
		s.contents = append(s.contents, string(content))
		return err
	})
	if err != nil {
		l.t.Fatalf("%v\n%s", err, l.log.String())
	}
	return s
}

// restore writes what was stored back, and gives what the target tells.
func (l *lab) restore(s *stored, o connectors.TargetOptions) (connectors.TargetReport, error) {
	l.t.Helper()
	config, faults := Validate(l.raw())
	if len(faults) > 0 {
		l.t.Fatal(faults)
	}
	if o.JobID == "" {
		o.JobID = "0198c0de-0000-7000-8000-0000" + l.name[1:] + strings.Repeat("a", 8)[:8]
	}
	if o.Existing == "" {
		o.Existing = job.ExistingSkip
	}
	ctx, cancel := context.WithTimeout(l.t.Context(), 2*time.Minute)
	defer cancel()
	target, err := New(l.options).OpenTarget(config, l.env, o)
	if err != nil {
		return connectors.TargetReport{}, err
	}
	for i, item := range s.items {
		if item.Kind == entry.File {
			item.Body = bytes.NewReader([]byte(s.contents[i]))
		}
		if err = target.Put(ctx, item); err != nil {
			break
		}
	}
	if finishErr := target.Finish(ctx); err == nil {
		err = finishErr
	}
	report := target.Report()
	for range 2 {
		if err := target.Close(); err != nil {
			l.t.Error(err)
		}
	}
	return report, err
}

// mayMake lets the site's account make databases beside its own.
func (l *lab) mayMake() {
	l.db.Do("", "GRANT ALL ON `"+l.name+"\\_%`.* TO "+l.account)
}

func (l *lab) file(name string) string {
	l.t.Helper()
	b, err := os.ReadFile(filepath.Join(l.ssh.Root, name))
	if err != nil {
		l.t.Fatal(err)
	}
	return string(b)
}

// one is a value in a database.
func (l *lab) one(database, question string) string {
	l.t.Helper()
	rows := l.db.Query(database, question)
	if len(rows) != 1 {
		l.t.Fatalf("%s: %d rows", question, len(rows))
	}
	return rows[0][0]
}

// A copy beside the site: files, a database of its own, and a wp-config.php that names
// it; and whatever held an address holds the new one.
func TestRestoreMoves(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.mayMake()
	const serialized = `a:2:{s:3:"url";s:19:"https://a.example/x";s:1:"n";s:41:"a:1:{i:0;s:23:"http://a.example/é🐈";}";}`
	broken := `a:1:{s:3:"url";s:18:"https://a.example/x";}`
	l.db.Do(l.name, "ALTER TABLE wp_options ADD PRIMARY KEY (option_name)",
		"CREATE TABLE wp_posts (ID BIGINT UNSIGNED PRIMARY KEY, post_content LONGTEXT, guid VARCHAR(255), raw LONGBLOB, at TIMESTAMP NULL ON UPDATE CURRENT_TIMESTAMP, up VARCHAR(255) AS (UPPER(guid)) STORED)",
		`INSERT INTO wp_posts (ID, post_content, guid, raw, at) VALUES (18446744073709551615, 'see https://a.example/p and {"u":"https:\\/\\/a.example\\/q"}', 'https://a.example/?p=1', CONCAT(X'00FF', 'http://a.example', X'80'), '2001-01-01')`,
		"INSERT INTO wp_posts (ID, post_content) SELECT seq, 'https://A.example' FROM seq_1_to_1200",
		"CREATE TABLE wp_short (id INT PRIMARY KEY, t VARCHAR(17), UNIQUE (t))", "INSERT INTO wp_short VALUES (1, 'https://a.example')",
		"CREATE TABLE wp_nokey (t TEXT)", "INSERT INTO wp_nokey VALUES ('https://a.example'), ('none')",
		"CREATE TABLE wp_latin (id INT PRIMARY KEY, t TEXT CHARACTER SET latin1)", "INSERT INTO wp_latin VALUES (1, 's:20:\"https://a.example/ü\";')",
		"CREATE TABLE other_t (id INT PRIMARY KEY, t TEXT)", "INSERT INTO other_t VALUES (1, 'https://a.example')",
		"INSERT INTO wp_options VALUES ('w', '"+serialized+"'), ('b', '"+broken+"')")
	l.configure("site/wp-config.php", "define('WP_HOME', 'https://a.example');\ndefine('WP_CONTENT_DIR', '"+l.root+"/wp-content');\n")
	s := l.stored()
	report, err := l.restore(s, connectors.TargetOptions{SiteURL: "http://new.example/deep"})
	if err != nil || report.Failed > 0 {
		t.Fatalf("%v, %+v\n%s", err, report, l.log.String())
	}
	folder := filepath.Base(l.root) + "_restored_aaaaaaaa"
	name := l.name + "_restored_aaaaaaaa"
	config := l.file(folder + "/wp-config.php")
	for _, line := range []string{"define('DB_NAME', '" + name + "');", "define('WP_HOME', 'http://new.example/deep');", "define('WP_CONTENT_DIR', '" + l.root + "_restored_aaaaaaaa/wp-content');", "// ** kept **"} {
		if !strings.Contains(config+"// ** kept **", line) {
			t.Errorf("wp-config.php lacks %s:\n%s", line, config)
		}
	}
	if l.file(folder+"/wp-content/uploads/cat.jpg") != "a picture" {
		t.Error("a file is not what it was")
	}
	for question, want := range map[string]string{
		"SELECT option_value FROM wp_options WHERE option_name = 'siteurl'":            "http://new.example/deep",
		"SELECT option_value FROM wp_options WHERE option_name = 'w'":                  `a:2:{s:3:"url";s:25:"http://new.example/deep/x";s:1:"n";s:48:"a:1:{i:0;s:30:"http://new.example/deep/é🐈";}";}`,
		"SELECT option_value FROM wp_options WHERE option_name = 'b'":                  broken,
		"SELECT post_content FROM wp_posts WHERE ID > 2000":                            `see http://new.example/deep/p and {"u":"http:\/\/new.example\/deep\/q"}`,
		"SELECT guid FROM wp_posts WHERE ID > 2000":                                    "https://a.example/?p=1",
		"SELECT HEX(raw) FROM wp_posts WHERE ID > 2000":                                "00FF687474703A2F2F6E65772E6578616D706C652F6465657080",
		"SELECT YEAR(at) FROM wp_posts WHERE ID > 2000":                                "2001",
		"SELECT COUNT(*) FROM wp_posts WHERE post_content = 'http://new.example/deep'": "1200",
		"SELECT t FROM wp_short":                                                       "https://a.example",
		"SELECT t FROM wp_latin":                                                       `s:26:"http://new.example/deep/ü";`,
		"SELECT t FROM other_t":                                                        "https://a.example",
		"SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = '" + name + "' AND TABLE_NAME LIKE '.xvault%'": "0",
	} {
		if got := l.one(name, question); got != want {
			t.Errorf("%s: %q, not %q", question, got, want)
		}
	}
	told := strings.Join(report.Notes, "\n")
	for _, tell := range []string{"wp_posts 1202", "wp_nokey: 1 rows", "wp_short: t, which", "(id 1)", "wp_options: option_value", "3 values still", name} {
		if !strings.Contains(told, tell) {
			t.Errorf("not told: %s\n%s", tell, told)
		}
	}
	if got := l.one(l.name, "SELECT option_value FROM wp_options WHERE option_name = 'siteurl'"); got != "https://a.example" {
		t.Errorf("the site's own database was written to: %q", got)
	}
	// A later attempt of the same job finds all done.
	report, err = l.restore(s, connectors.TargetOptions{SiteURL: "http://new.example/deep", Again: true})
	if err != nil || report.Failed > 0 || report.Overwritten > 0 || l.one(name, "SELECT option_value FROM wp_options WHERE option_name = 'siteurl'") != "http://new.example/deep" {
		t.Errorf("again: %v, %+v", err, report)
	}
	if strings.Contains(l.log.String()+told, "dollar") {
		t.Error("the password shows")
	}
}

// Over the site itself: what was spoiled is as it was, and what the account is called now
// stays.
func TestRestoreOver(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	if err := os.Mkdir(filepath.Join(l.ssh.Root, "shared"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(l.root, "wp-content/uploads"), filepath.Join(l.ssh.Root, "shared/up")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../../shared/up", filepath.Join(l.root, "wp-content/uploads")); err != nil {
		t.Fatal(err)
	}
	l.db.Do(l.name, "ALTER TABLE wp_options ADD PRIMARY KEY (option_name)")
	s := l.stored()
	l.db.Do(l.name, "CREATE TABLE wp_later (id INT PRIMARY KEY, t TEXT)", "INSERT INTO wp_later VALUES (1, 'https://a.example')")
	l.db.Do(l.name, "UPDATE wp_options SET option_value = 'spoiled'", "CREATE TABLE mine (x INT)")
	l.write("shared/up/cat.jpg", "spoiled, and longer")
	l.write("site/wp-load.php", "<?php spoiled();")
	l.db.Do("", "ALTER USER "+l.account+"@'%' IDENTIFIED BY 'another pass'")
	l.password = "another pass"
	l.configure("site/wp-config.php", "// newer\n")
	report, err := l.restore(s, connectors.TargetOptions{Existing: job.ExistingOverwrite})
	if err != nil || report.Failed > 0 {
		t.Fatalf("%v, %+v\n%s", err, report, l.log.String())
	}
	if l.file("shared/up/cat.jpg") != "a picture" || l.file("site/wp-load.php") != "<?php" {
		t.Error("files are not what they were")
	}
	if config := l.file("site/wp-config.php"); !strings.Contains(config, "'another pass'") || strings.Contains(config, "newer") || !strings.Contains(config, "'"+l.name+"'") {
		t.Errorf("wp-config.php: %s", config)
	}
	if got := l.one(l.name, "SELECT option_value FROM wp_options WHERE option_name = 'siteurl'"); got != "https://a.example" {
		t.Errorf("siteurl is %q", got)
	}
	l.one(l.name, "SELECT COUNT(*) FROM mine")
	// To another address go the tables that the dump has, also where it is done again.
	for range 2 {
		if report, err = l.restore(s, connectors.TargetOptions{Existing: job.ExistingOverwrite, SiteURL: "https://a.example/sub"}); err != nil || report.Failed > 0 {
			t.Fatalf("%v, %+v\n%s", err, report, l.log.String())
		}
	}
	for question, want := range map[string]string{
		"SELECT option_value FROM wp_options WHERE option_name = 'siteurl'": "https://a.example/sub", "SELECT t FROM wp_later": "https://a.example",
	} {
		if got := l.one(l.name, question); got != want {
			t.Errorf("%s: %q, not %q", question, got, want)
		}
	}
}

// A link in the site leads a restore to another user's folder only if it is that user's,
// or root's.
func TestRestoreFollowsNoStrangersLink(t *testing.T) {
	t.Parallel()
	const stranger = 65534
	l := newLab(t)
	s := l.stored()
	l.write("other/cat.jpg", "somebody's")
	folder, link := filepath.Join(l.ssh.Root, "other"), filepath.Join(l.root, "wp-content/uploads")
	root := os.Getuid() == 0
	if !root {
		folder = "/usr" // who cannot give a link away makes one to what is root's
	}
	for _, err := range []error{os.RemoveAll(link), os.Symlink(folder, link)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if root {
		if err := os.Lchown(link, stranger, stranger); err != nil {
			t.Fatal(err)
		}
	}
	_, err := l.restore(s, connectors.TargetOptions{Existing: job.ExistingOverwrite})
	if job.CodeOf(err) != job.PermissionDenied || !strings.Contains(err.Error(), link) || l.file("other/cat.jpg") != "somebody's" {
		t.Errorf("%v, %s", err, l.file("other/cat.jpg"))
	}
	if !root {
		return
	}
	if err := os.Chown(folder, stranger, stranger); err != nil {
		t.Fatal(err)
	}
	if report, err := l.restore(s, connectors.TargetOptions{Existing: job.ExistingOverwrite}); err != nil || report.Failed > 0 || l.file("other/cat.jpg") != "a picture" {
		t.Errorf("%v, %+v", err, report)
	}
}

// Nothing of the site's own database is replaced for a copy in another folder, also where
// only the snapshot tells how to reach it.
func TestRestoreBesideTheSite(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.mayMake()
	s := l.stored()
	const siteurl = "SELECT option_value FROM wp_options WHERE option_name = 'siteurl'"
	l.db.Do(l.name, "UPDATE wp_options SET option_value = 'live'")
	if err := os.Remove(filepath.Join(l.root, "wp-config.php")); err != nil {
		t.Fatal(err)
	}
	report, err := l.restore(s, connectors.TargetOptions{Folder: filepath.Join(l.ssh.Root, "copy"), Existing: job.ExistingOverwrite})
	if err != nil || report.Failed > 0 {
		t.Fatalf("%v, %+v\n%s", err, report, l.log.String())
	}
	if live, copied := l.one(l.name, siteurl), l.one(l.name+"_restored_aaaaaaaa", siteurl); live != "live" || copied != "https://a.example" {
		t.Errorf("live %q, copied %q", live, copied)
	}
}

// What an account may not, and what is in the way, shows before a file is written.
func TestRestoreFails(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	s := l.stored()
	expect := func(what string, o connectors.TargetOptions, code job.Code, tells string) {
		t.Helper()
		o.Folder = filepath.Join(l.ssh.Root, "new")
		_, err := l.restore(s, o)
		if job.CodeOf(err) != code || !strings.Contains(err.Error(), tells) {
			t.Errorf("%s: %v; want %s, %s", what, err, code, tells)
		}
		if _, err := os.Stat(o.Folder + "/wp-load.php"); err == nil {
			t.Errorf("%s: files were written", what)
		}
	}
	expect("no right to make a database", connectors.TargetOptions{}, job.PermissionDenied, "--database")
	expect("its own database", connectors.TargetOptions{Database: l.name}, job.ConfigInvalid, "holds tables")
	expect("a system's database", connectors.TargetOptions{Database: "mysql"}, job.ConfigInvalid, "mysql")
	expect("newer", connectors.TargetOptions{Existing: job.ExistingNewer}, job.ConfigInvalid, "newer")
	for _, o := range []connectors.TargetOptions{{SiteURL: "https://new.example"}, {Database: "x"}} {
		o.Members = []string{"files"}
		expect("no dump among the paths", o, job.ConfigInvalid, "dump")
	}
	// The two ways out.
	empty := l.db.Database()
	l.db.Do("", "GRANT ALL ON "+empty+".* TO "+l.account)
	if report, err := l.restore(s, connectors.TargetOptions{Database: empty}); err != nil || report.Failed > 0 {
		t.Errorf("an empty database: %v, %+v", err, report)
	}
	l.one(empty, "SELECT option_value FROM wp_options WHERE option_name = 'siteurl'")
	another := l.db.Database()
	was, account, password := l.name, l.account, l.password
	l.name, l.password = another, "of another"
	l.account = l.db.Account(l.password, "ALL PRIVILEGES ON "+another+".*")
	l.configure("prepared/wp-config.php", "// prepared\n")
	l.configure("prefixed/wp-config.php", "$table_prefix = 'x_';\n")
	l.name = was
	for folder, o := range map[string]connectors.TargetOptions{"prefixed": {}, "prepared": {Database: l.db.Database()}} {
		o.Folder = filepath.Join(l.ssh.Root, folder)
		tells := map[string]string{"prefixed": "$table_prefix = 'wp_';", "prepared": "define('DB_NAME', '" + o.Database + "');"}[folder]
		if _, err := l.restore(s, o); job.CodeOf(err) != job.ConfigInvalid || !strings.Contains(err.Error(), tells) {
			t.Errorf("%s: %v does not tell %s", folder, err, tells)
		}
	}
	report, err := l.restore(s, connectors.TargetOptions{Folder: filepath.Join(l.ssh.Root, "prepared"), SiteURL: "https://moved.example"})
	if err != nil || report.Failed > 0 || report.Skipped != 1 {
		t.Errorf("a prepared folder: %v, %+v", err, report)
	}
	if got := l.one(another, "SELECT option_value FROM wp_options WHERE option_name = 'siteurl'"); got != "https://a.example" {
		t.Errorf("in the prepared database: %s", got) // without a key nothing changes
	}
	if !strings.Contains(l.file("prepared/wp-config.php"), "// prepared") {
		t.Error("wp-config.php that was there was replaced")
	}
	l.account, l.password = account, password
}

// A network of sites moves with the domains by which its sites are found.
func TestRestoreMovesNetwork(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.mayMake()
	l.db.Do(l.name, "ALTER TABLE wp_options ADD PRIMARY KEY (option_name)",
		"CREATE TABLE wp_site (id INT PRIMARY KEY, domain VARCHAR(200), path VARCHAR(100))", "INSERT INTO wp_site VALUES (1, 'a.example', '/')",
		"CREATE TABLE wp_blogs (blog_id INT PRIMARY KEY, domain VARCHAR(200), path VARCHAR(100))",
		"INSERT INTO wp_blogs VALUES (1, 'a.example', '/'), (2, 'shop.a.example', '/'), (3, 'own.test', '/'), (4, 'a.example', '/sub/')",
		"CREATE TABLE wp_sitemeta (meta_key VARCHAR(50) PRIMARY KEY, meta_value TEXT)", "INSERT INTO wp_sitemeta VALUES ('siteurl', 'https://a.example/')",
		"CREATE TABLE wp_2_options (option_name VARCHAR(50) PRIMARY KEY, option_value TEXT)", "INSERT INTO wp_2_options VALUES ('siteurl', 'https://shop.a.example'), ('o', 'http://own.test https://other.a.example')")
	l.configure("site/wp-config.php", "define('MULTISITE', true);\ndefine('DOMAIN_CURRENT_SITE', 'a.example');\ndefine('PATH_CURRENT_SITE', '/');\n")
	report, err := l.restore(l.stored(), connectors.TargetOptions{SiteURL: "https://b.example"})
	if err != nil || report.Failed > 0 {
		t.Fatalf("%v, %+v\n%s", err, report, l.log.String())
	}
	name := l.name + "_restored_aaaaaaaa"
	for question, want := range map[string]string{
		"SELECT domain FROM wp_site": "b.example",
		"SELECT GROUP_CONCAT(CONCAT(domain, path) ORDER BY blog_id) FROM wp_blogs": "b.example/,shop.b.example/,own.test/,b.example/sub/",
		"SELECT meta_value FROM wp_sitemeta":                                       "https://b.example/",
		"SELECT option_value FROM wp_2_options WHERE option_name = 'siteurl'":      "https://shop.b.example",
		"SELECT option_value FROM wp_2_options WHERE option_name = 'o'":            "http://own.test https://other.a.example",
	} {
		if got := l.one(name, question); got != want {
			t.Errorf("%s: %q, not %q", question, got, want)
		}
	}
	if config := l.file("site_restored_aaaaaaaa/wp-config.php"); !strings.Contains(config, "'DOMAIN_CURRENT_SITE', 'b.example'") {
		t.Errorf("wp-config.php: %s", config)
	}
	if told := strings.Join(report.Notes, "\n"); !strings.Contains(told, "own.test") {
		t.Errorf("notes: %s", told)
	}
}

// What stands elsewhere than in wp-config.php is not touched, and told.
func TestConfigThatIsNotChanged(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.mayMake()
	l.write("site/db.php", "<?php\ndefine('DB_NAME', '"+l.name+"');\n")
	l.configure("site/wp-config.php", "")
	config := "<?php\nrequire __DIR__ . '/db.php';\n" + strings.Join(strings.SplitAfter(l.file("site/wp-config.php"), "\n")[2:], "")
	l.write("site/wp-config.php", config)
	report, err := l.restore(l.stored(), connectors.TargetOptions{})
	told := strings.Join(report.Notes, "\n")
	if err != nil || !strings.Contains(told, "DB_NAME as \""+l.name+"_restored_aaaaaaaa\"") || strings.Contains(told, "DB_USER") || l.file("site_restored_aaaaaaaa/wp-config.php") != config {
		t.Errorf("%v, %s", err, told)
	}
}

// siteRestored restores a copy, whose file has to hold a text.
func (l *lab) siteRestored(s *stored, file, text string) {
	l.t.Helper()
	report, err := l.restore(s, connectors.TargetOptions{})
	if err != nil || report.Failed > 0 {
		l.t.Fatalf("%v, %+v", err, report)
	}
	if content := l.file(file); !strings.Contains(content, text) {
		l.t.Errorf("%s lacks %s: %s\n%q", file, text, content, report.Notes)
	}
}

// A connection that has fewer characters than a column would write question marks back:
// such a value stays, and is told of.
func TestRestoreMovesThroughAFewCharacters(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.mayMake()
	l.db.Do(l.name, "ALTER TABLE wp_options ADD PRIMARY KEY (option_name)",
		"CREATE TABLE wp_wide (id INT PRIMARY KEY, t TEXT CHARACTER SET utf8mb4)", "INSERT INTO wp_wide VALUES (1, 'https://a.example 🐈'), (2, 'https://a.example ü')",
		"CREATE TABLE wp_keys (k VARCHAR(99) PRIMARY KEY)", "INSERT INTO wp_keys VALUES ('https://a.example')",
		"CREATE TABLE wp_cats (k VARCHAR(50) CHARACTER SET utf8mb4 PRIMARY KEY, t TEXT)", "INSERT INTO wp_cats SELECT CONCAT(_utf8mb4 X'F09F9088', LPAD(seq, 5, '0')), 'https://a.example' FROM seq_1_to_1100")
	l.configure("site/wp-config.php", "define('DB_CHARSET', 'latin1');\n")
	report, err := l.restore(l.stored(), connectors.TargetOptions{SiteURL: "https://b.example"})
	if err != nil || report.Failed > 0 {
		t.Fatalf("%v, %+v\n%s", err, report, l.log.String())
	}
	name := l.name + "_restored_aaaaaaaa"
	for question, want := range map[string]string{
		"SELECT HEX(t) FROM wp_wide WHERE id = 1":                           "68747470733A2F2F612E6578616D706C6520F09F9088",
		"SELECT HEX(t) FROM wp_wide WHERE id = 2":                           "68747470733A2F2F622E6578616D706C6520C3BC",
		"SELECT option_value FROM wp_options WHERE option_name = 'siteurl'": "https://b.example",
		"SELECT COUNT(*) FROM wp_cats WHERE t = 'https://a.example'":        "1100",
	} {
		if got := l.one(name, question); got != want {
			t.Errorf("%s: %q, not %q", question, got, want)
		}
	}
	if told := strings.Join(report.Notes, "\n"); !strings.Contains(told, "latin1 does not have") || !strings.Contains(told, "all rows") || !strings.Contains(told, "part of the key") {
		t.Errorf("not told: %s", told)
	}
}
