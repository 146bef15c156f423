package connectors_test

import (
	"strings"
	"testing"

	"xvault/connectors"
)

func TestParseHooks(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		config string
		want   *connectors.Hooks
		fault  string // the field that is wrong
	}{
		{`{}`, nil, ""},
		{`{"hooks":null}`, nil, ""},
		{`{"hooks":{"before":" fsfreeze -f /srv "}}`, &connectors.Hooks{Before: "fsfreeze -f /srv", TimeoutSeconds: 300}, ""},
		{`{"hooks":{"after":"a","before":"b","timeout_seconds":86400}}`, &connectors.Hooks{Before: "b", After: "a", TimeoutSeconds: 86400}, ""},
		{`{"hooks":{}}`, nil, "hooks"},
		{`{"hooks":{"before":"  "}}`, nil, "hooks"},
		{`{"hooks":"true"}`, nil, "hooks"},
		{`{"hooks":{"before":1}}`, nil, "hooks.before"},
		{`{"hooks":{"before":"a\u0000b"}}`, nil, "hooks.before"},
		{`{"hooks":{"before":"` + strings.Repeat("x", 4097) + `"}}`, nil, "hooks.before"},
		{`{"hooks":{"after":"a","timeout_seconds":0}}`, nil, "hooks.timeout_seconds"},
		{`{"hooks":{"after":"a","timeout":5}}`, nil, "hooks.timeout"},
	} {
		f := connectors.ParseFields([]byte(c.config))
		got := connectors.ParseHooks(f)
		faults := f.Faults()
		switch {
		case c.fault != "":
			if len(faults) != 1 || faults[0].Field != c.fault {
				t.Errorf("%s: faults %v, want one of %s", c.config, faults, c.fault)
			}
		case len(faults) > 0:
			t.Errorf("%s: %v", c.config, faults)
		case (got == nil) != (c.want == nil) || got != nil && *got != *c.want:
			t.Errorf("%s: %+v", c.config, got)
		}
	}
}
