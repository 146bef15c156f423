package retention_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"xvault/hub/retention"
)

func TestParsePolicy(t *testing.T) {
	t.Parallel()
	tests := []struct{ raw, canonical string }{
		{``, `{}`},
		{`null`, `{}`},
		{` {} `, `{}`},
		{`{"keep_last":3}`, `{"keep_last":3}`},
		{`{"keep_last":0,"keep_daily":null}`, `{}`},
		{
			`{"min_keep":2,"keep_yearly":6,"keep_monthly":5,"keep_weekly":4,"keep_daily":3,"keep_hourly":2,"keep_last":1,"keep_within":"2y5m7d3h"}`,
			`{"keep_last":1,"keep_hourly":2,"keep_daily":3,"keep_weekly":4,"keep_monthly":5,"keep_yearly":6,"keep_within":"2y5m7d3h","min_keep":2}`,
		},
		{`{"keep_within":"2w1d"}`, `{"keep_within":"15d"}`},
		{`{"keep_within":""}`, `{}`},
		{`{"keep_within":"0d"}`, `{}`},
		{`{"keep_daily":1e2}`, ``}, // a whole number in another notation is not worth a second one
		{`{"keep_daily":100000}`, `{"keep_daily":100000}`},
	}
	for _, tt := range tests {
		p, err := retention.ParsePolicy([]byte(tt.raw))
		if tt.canonical == "" {
			if err == nil {
				t.Errorf("%s: no error", tt.raw)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tt.raw, err)
			continue
		}
		encoded, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		if string(encoded) != tt.canonical {
			t.Errorf("%s: became %s, want %s", tt.raw, encoded, tt.canonical)
		}
		if again, err := retention.ParsePolicy(encoded); err != nil || again != p {
			t.Errorf("%s: read back as %+v, %v", tt.raw, again, err)
		}
	}
}

// TestParsePolicyNamesFields: a person is told which field to mend.
func TestParsePolicyNamesFields(t *testing.T) {
	t.Parallel()
	tests := []struct {
		raw    string
		fields []string
	}{
		{`[]`, []string{""}},
		{`"keep_last"`, []string{""}},
		{`{`, []string{""}},
		{`{"keep_last":-1}`, []string{"keep_last"}},
		{`{"keep_last":1.5}`, []string{"keep_last"}},
		{`{"keep_last":"3"}`, []string{"keep_last"}},
		{`{"keep_last":100001}`, []string{"keep_last"}},
		{`{"keep_last":99999999999999999999}`, []string{"keep_last"}},
		{`{"keep_within":7}`, []string{"keep_within"}},
		{`{"keep_within":"7"}`, []string{"keep_within"}},
		{`{"keep_within":"d"}`, []string{"keep_within"}},
		{`{"keep_within":"-7d"}`, []string{"keep_within"}},
		{`{"keep_within":"7 d"}`, []string{"keep_within"}},
		{`{"keep_within":"1000001d"}`, []string{"keep_within"}},
		{`{"keep_within":"1000000d1000000d"}`, []string{"keep_within"}},
		{`{"min_keep":true,"keep_dayly":7,"keep_weekly":[]}`, []string{"keep_dayly", "keep_weekly", "min_keep"}},
	}
	for _, tt := range tests {
		_, err := retention.ParsePolicy([]byte(tt.raw))
		var faults retention.PolicyError
		if !errors.As(err, &faults) {
			t.Errorf("%s: %v is no PolicyError", tt.raw, err)
			continue
		}
		var got []string
		for _, f := range faults {
			got = append(got, f.Field)
			if f.Message == "" {
				t.Errorf("%s: field %q has no message", tt.raw, f.Field)
			}
		}
		if strings.Join(got, " ") != strings.Join(tt.fields, " ") {
			t.Errorf("%s: fields %q, want %q", tt.raw, got, tt.fields)
		}
	}
}

func FuzzParsePolicy(f *testing.F) {
	f.Add([]byte(`{"keep_last":3,"keep_within":"2y5m7d3h"}`))
	f.Add([]byte(`{"keep_within":"9999999999999999999y"}`))
	f.Add([]byte(`{"keep_within":"é"}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		p, err := retention.ParsePolicy(raw)
		if err != nil {
			var faults retention.PolicyError
			if !errors.As(err, &faults) || len(faults) == 0 {
				t.Fatalf("%v names no field", err)
			}
			return
		}
		now := time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC)
		out := retention.Apply(p, []retention.Snapshot{{ID: "a", Time: now, Worth: retention.Good}}, now, nil)
		if len(out) != 1 || !out[0].Keep {
			t.Fatalf("%s removes the only snapshot", raw)
		}
	})
}
