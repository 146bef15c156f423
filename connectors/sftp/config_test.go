package sftp_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"xvault/connectors/sftp"
)

const (
	someKey         = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOz7MCfvMR+BAvD9saJMC2npOzUTHRFXcuvcA5CEnUFG"
	someFingerprint = "SHA256:6yd//DvvPFpHjUbu6opWnvgfi8Q2yRnogLCeyv71DVc"
)

func TestValidateMakesCanonical(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		`{"host":"h","username":"u","paths":["/a"]}`: `{"host":"h","port":22,"username":"u","paths":["/a"],"exclude":[],"host_keys":[],"trust_on_first_use":false}`,
		`{"host":"[2001:db8::1]","port":2222,"username":"u","paths":["/a//b/","/a/b","/./c","/"],"exclude":["*.tmp"],"host_keys":["` + someKey + ` root@h","` + someKey + `"],"trust_on_first_use":true}`: `{"host":"2001:db8::1","port":2222,"username":"u","paths":["/a/b","/c","/"],"exclude":["*.tmp"],"host_keys":["` + someKey + `"],"trust_on_first_use":true}`,
		`{"host":"h","username":"ü","paths":["/ü\n"],"host_keys":["` + someFingerprint + `="],"exclude":null}`:                                                                                            `{"host":"h","port":22,"username":"ü","paths":["/ü\n"],"exclude":[],"host_keys":["` + someFingerprint + `"],"trust_on_first_use":false}`,
	} {
		canonical, faults := sftp.Validate([]byte(raw))
		if string(canonical) != want || len(faults) > 0 {
			t.Errorf("%s\n got %s %v\nwant %s", raw, canonical, faults, want)
		}
		again, faults := sftp.Validate(canonical)
		if string(again) != want || len(faults) > 0 {
			t.Errorf("the canonical form is not stable: %s %v", again, faults)
		}
	}
}

func TestValidateNamesEveryFault(t *testing.T) {
	t.Parallel()
	base := map[string]any{"host": "h", "username": "u", "paths": []any{"/a"}}
	for _, c := range []struct {
		change map[string]any
		want   []string
	}{
		{map[string]any{"host": nil}, []string{"host"}},
		{map[string]any{"host": ""}, []string{"host"}},
		{map[string]any{"host": 5}, []string{"host"}},
		{map[string]any{"host": "ssh://h"}, []string{"host"}},
		{map[string]any{"host": "h:22"}, []string{"host"}},
		{map[string]any{"host": "u@h"}, []string{"host"}},
		{map[string]any{"host": "h h"}, []string{"host"}},
		{map[string]any{"host": strings.Repeat("h", 300)}, []string{"host"}},
		{map[string]any{"port": 0}, []string{"port"}},
		{map[string]any{"port": 65536}, []string{"port"}},
		{map[string]any{"port": "22"}, []string{"port"}},
		{map[string]any{"port": 22.5}, []string{"port"}},
		{map[string]any{"username": nil}, []string{"username"}},
		{map[string]any{"username": "a\nb"}, []string{"username"}},
		{map[string]any{"paths": nil}, []string{"paths"}},
		{map[string]any{"paths": []any{}}, []string{"paths"}},
		{map[string]any{"paths": "/a"}, []string{"paths"}},
		{map[string]any{"paths": []any{"/a", "b", "", "/a/../b", "/a\x00", 5, "/" + strings.Repeat("p", 5000)}}, []string{"paths[1]", "paths[2]", "paths[3]", "paths[4]", "paths[5]", "paths[6]"}},
		{map[string]any{"exclude": []any{"ok", "[", ""}}, []string{"exclude[1]", "exclude[2]"}},
		{map[string]any{"exclude": []any{nil}}, []string{"exclude[0]"}},
		{map[string]any{"host_keys": []any{someKey, "SHA256:short", "ssh-rsa AAAA", "h " + someKey, "", "MD5:aa:bb"}}, []string{"host_keys[1]", "host_keys[2]", "host_keys[3]", "host_keys[4]", "host_keys[5]"}},
		{map[string]any{"trust_on_first_use": "yes"}, []string{"trust_on_first_use"}},
		{map[string]any{"Host": "h", "password": "secret", "port": -1}, []string{"port", "Host", "password"}},
	} {
		config := maps.Clone(base)
		maps.Copy(config, c.change)
		raw, err := json.Marshal(config)
		if err != nil {
			t.Fatal(err)
		}
		canonical, faults := sftp.Validate(raw)
		var fields []string
		for _, f := range faults {
			fields = append(fields, f.Field)
			if f.Message == "" || strings.Contains(f.Message, "secret") {
				t.Errorf("%s: message %q", f.Field, f.Message)
			}
		}
		slices.Sort(fields)
		slices.Sort(c.want)
		if canonical != nil || !slices.Equal(fields, c.want) {
			t.Errorf("%v: faults in %q, want %q", c.change, fields, c.want)
		}
	}
	for _, raw := range []string{"", "null", "[]", `"x"`, "{", "{\"host\":\"\xff\"}", `{"host":"h"} x`} {
		if canonical, faults := sftp.Validate([]byte(raw)); canonical != nil || len(faults) == 0 || faults[0].Field != "" {
			t.Errorf("%q: %s %v", raw, canonical, faults)
		}
	}
}

func FuzzValidate(f *testing.F) {
	f.Add([]byte(`{"host":"h","port":22,"username":"u","paths":["/a"],"exclude":["[a-z]*"],"host_keys":["` + someKey + `"]}`))
	f.Add([]byte(`{"paths":["/../"],"exclude":["[","\\"]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		canonical, faults := sftp.Validate(raw)
		if (canonical == nil) == (len(faults) == 0) {
			t.Fatalf("canonical %s and faults %v", canonical, faults)
		}
		if canonical == nil {
			return
		}
		if again, faults := sftp.Validate(canonical); string(again) != string(canonical) {
			t.Fatalf("%s becomes %s %v", canonical, again, faults)
		}
	})
}
