package testenv_test

import (
	"path/filepath"
	"strings"
	"testing"

	"xvault/internal/devenv"
	"xvault/internal/secret"
	"xvault/internal/testenv"
)

// A site is installed and shows its post.
func TestWordPressSite(t *testing.T) {
	t.Parallel()
	m := testenv.MariaDB(t)
	name := m.Database()
	site := testenv.WordPress(t, devenv.WordPressConfig{
		Root: filepath.Join(testenv.Dir(t), "site"), Database: name, User: m.User, Password: secret.New(m.Password.Reveal()), DBHost: "localhost:" + m.Socket(),
	}, "A post to be seen")
	if page := site.Page("/"); !strings.Contains(page, "A post to be seen") {
		t.Errorf("the front page: %.2000s", page)
	}
}
