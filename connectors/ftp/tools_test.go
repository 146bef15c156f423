package ftp_test

import (
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"xvault/connectors"
	"xvault/internal/job"
)

// opened is a source that is closed after the test.
func opened(t *testing.T, kind connectors.Type, config map[string]any, env connectors.Env) connectors.Source {
	t.Helper()
	raw, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	canonical, faults := kind.Validate(raw)
	if len(faults) > 0 {
		t.Fatalf("%s: %v", raw, faults)
	}
	source, err := kind.Open(canonical, env)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := source.Close(); err != nil {
			t.Error(err)
		}
	})
	return source
}

func drain(body io.Reader) (string, error) {
	var b strings.Builder
	_, err := io.Copy(&b, body)
	return b.String(), err
}

func wantCode(t *testing.T, what string, err error, code job.Code, words ...string) {
	t.Helper()
	if job.CodeOf(err) != code {
		t.Errorf("%s: %v, want code %s", what, err, code)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%s: %v does not speak of %q", what, err, w)
		}
	}
	t.Logf("%s: %v", what, err)
}

func codeIn(err error, code job.Code) bool {
	e, ok := errors.AsType[*job.Error](err)
	return ok && e.Code == code
}
