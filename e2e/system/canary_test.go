package system

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// passwords hold what the notations write in ways of their own.
func passwords() map[string]string {
	return map[string]string{
		"quotes":      "canary 'pass' \"word\" % \\ ü",
		"lines":       "canary\nof two\tlines\r\n",
		"an address":  "canary/of?an=address&more;#with:an@;$+,%20",
		"HTML":        "canary <b>&amp;</b>",
		"many":        `canary of $(id) ` + "`id` 'q' \"w\" % \\ ü 🎉\nof two lines",
		"unprintable": "canary\x01\x7f\u2028\u00ad\b\f\v",
		"plain":       "canary-password",
	}
}

// A search that finds nothing means something only if it would find what is there, in
// the way that logs, answers, dumps and addresses write it.
func TestCanariesAreFound(t *testing.T) {
	t.Parallel()
	for name, password := range passwords() {
		canaries := Canaries{}
		canaries.Add("password", password)
		for where, text := range leaks(t, password) {
			if len(canaries.Search(text)) == 0 {
				t.Errorf("the password with %s is not found %s: %s", name, where, text)
			}
		}
		if found := canaries.Search([]byte("can ary canar y, a password and nothing else")); len(found) > 0 {
			t.Errorf("the password with %s is found where it is not: %s", name, found)
		}
	}
}

// leaks are texts that hold the password, by where they come from.
func leaks(t *testing.T, password string) map[string][]byte {
	t.Helper()
	answer, err := json.Marshal(map[string]string{"password": password})
	if err != nil {
		t.Fatal(err)
	}
	failed := fmt.Errorf("log in with %q: %w", password, errors.New("refused"))
	texts := map[string][]byte{
		"as it is":        []byte("password " + password + "\n"),
		"in JSON":         answer,
		"in a path":       []byte("/login/" + url.PathEscape(password)),
		"in a query":      []byte("/login?" + url.Values{"password": {password}}.Encode()),
		"in an address":   []byte((&url.URL{Scheme: "postgres", User: url.UserPassword("me", password), Host: "db"}).String()),
		"in a dumped row": []byte("1\t" + strings.ReplaceAll(string(answer), `\`, `\\`) + "\n"),
	}
	for handler, open := range map[string]func(*bytes.Buffer) slog.Handler{
		"JSON log": func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
		"text log": func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
	} {
		for how, log := range map[string]func(*slog.Logger){
			"the message":        func(l *slog.Logger) { l.Info("log in with " + password) }, //nolint:sloglint // the mistake to be found
			"an attribute":       func(l *slog.Logger) { l.With("password", password).Info("log in") },
			"a group":            func(l *slog.Logger) { l.Info("log in", slog.Group("with", "password", password)) },
			"a structure":        func(l *slog.Logger) { l.Info("log in", "with", struct{ Password string }{password}) },
			"an error":           func(l *slog.Logger) { l.Info("log in", "err", errors.New("refused: "+password)) },
			"a quoted part":      func(l *slog.Logger) { l.Info("log in", "err", failed) },
			"an answer":          func(l *slog.Logger) { l.Info("log in", "answer", string(answer)) },
			"bytes":              func(l *slog.Logger) { l.Info("log in", "password", []byte(password)) },
			"the attribute name": func(l *slog.Logger) { l.Info("log in", password, true) },
		} {
			var b bytes.Buffer
			log(slog.New(open(&b)))
			texts["in "+how+" of a "+handler] = b.Bytes()
		}
	}
	return texts
}

// A search of files finds contents and names, and is no search where there is nothing.
func TestFilesAreSearched(t *testing.T) {
	t.Parallel()
	canaries, dir := Canaries{}, t.TempDir()
	canaries.Add("password", passwords()["quotes"])
	for _, file := range []struct{ name, content string }{
		{"worker.log", `{"err":"log in with canary 'pass' \"word\" % \\ ü"}`},
		{"canary 'pass' \"word\" % \\ ü", "a name"},
		{"clean", "nothing"},
	} {
		if err := os.WriteFile(filepath.Join(dir, file.name), []byte(file.content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if found := canaries.SearchFiles(t, dir); len(found) != 2 {
		t.Errorf("found %q, want a content and a name", found)
	}
}
