package cmd

import (
	"encoding/json"
	"testing"
)

func TestSetOtherFields(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		set  []string
		want string // empty: refused
	}{
		{[]string{"tls=none"}, `{"host":"h","tls":"none"}`},
		{[]string{`exclude_tables=["a","b"]`}, `{"exclude_tables":["a","b"],"host":"h"}`},
		{[]string{"port=12345678901234567890"}, `{"host":"h","port":12345678901234567890}`},
		{[]string{"routines=false", "routines=true"}, `{"host":"h","routines":true}`},
		{[]string{`note=1 and more`}, `{"host":"h","note":"1 and more"}`},
		{[]string{`ssh={"host":"j"}`}, `{"host":"h","ssh":{"host":"j"}}`},
		{[]string{"name="}, `{"host":"h","name":""}`},
		{[]string{"name=a=b"}, `{"host":"h","name":"a=b"}`},
		{[]string{"name"}, ""},
		{[]string{"=x"}, ""},
	} {
		config := map[string]any{"host": "h"}
		err := (&configOptions{set: c.set}).setOthers(config)
		if err != nil {
			if c.want != "" {
				t.Errorf("%q: %v", c.set, err)
			}
			continue
		}
		got, err := json.Marshal(config)
		if err != nil || string(got) != c.want {
			t.Errorf("%q: %s, %v; want %s", c.set, got, err, c.want)
		}
	}
}
