package testenv

import (
	"io"
	"net/http"
	"testing"

	"xvault/internal/devenv"
)

// WordPressSite is a site of one test's own.
type WordPressSite struct {
	*devenv.WordPress
	t testing.TB
}

// WordPress installs a site in a folder that does not exist yet, with a post of the
// title, and serves it until the test ends.
func WordPress(t testing.TB, cfg devenv.WordPressConfig, post string) *WordPressSite {
	t.Helper()
	ctx, cancel := startContext()
	defer cancel()
	w, err := devenv.NewWordPress(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Install(ctx, "A site", post); err != nil {
		t.Fatal(err)
	}
	return serve(t, w)
}

// ServeWordPress serves a site that is there, until the test ends.
func ServeWordPress(t testing.TB, cfg devenv.WordPressConfig) *WordPressSite {
	t.Helper()
	w, err := devenv.OpenWordPress(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return serve(t, w)
}

func serve(t testing.TB, w *devenv.WordPress) *WordPressSite {
	t.Helper()
	ctx, cancel := startContext()
	defer cancel()
	if err := w.Start(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Stop(); err != nil {
			t.Errorf("stop the site: %v", err)
		}
		if t.Failed() {
			t.Logf("the end of the site's log:\n%s", w.Log())
		}
	})
	return &WordPressSite{w, t}
}

// Page gives a page of the site, which has to answer with 200.
func (s *WordPressSite) Page(page string) string {
	s.t.Helper()
	ctx, cancel := startContext()
	defer cancel()
	resp, err := s.Get(ctx, page)
	if err != nil {
		s.t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if closeErr := resp.Body.Close(); err == nil {
		err = closeErr
	}
	if err != nil || resp.StatusCode != http.StatusOK {
		s.t.Fatalf("%s answers %s, %v: %.2000s", page, resp.Status, err, body)
	}
	return string(body)
}

// PHP runs code.
func (s *WordPressSite) PHP(code string) {
	s.t.Helper()
	ctx, cancel := startContext()
	defer cancel()
	if err := s.Run(ctx, code); err != nil {
		s.t.Fatal(err)
	}
}
