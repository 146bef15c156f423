package cmd

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
)

func TestKeyComesFromTheNearestSetting(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte("from-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		opts             clientOptions
		env, envFile     string
		want, wantErrHas string
	}{
		"flag before environment":      {opts: clientOptions{key: "flag"}, env: "env", want: "flag"},
		"file flag before environment": {opts: clientOptions{keyFile: file}, env: "env", want: "from-file"},
		"environment":                  {env: "env", want: "env"},
		"file of the environment":      {envFile: file, want: "from-file"},
		"both flags":                   {opts: clientOptions{key: "a", keyFile: file}, wantErrHas: "both given"},
		"both variables":               {env: "a", envFile: file, wantErrHas: "both set"},
		"none":                         {wantErrHas: "no key"},
		"blank":                        {env: " \n", wantErrHas: "empty"},
		"no such file":                 {envFile: file + "x", wantErrHas: "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("XVAULT_KEY", c.env)
			t.Setenv("XVAULT_KEY_FILE", c.envFile)
			key, err := c.opts.readKey()
			switch {
			case c.wantErrHas != "" && (err == nil || !strings.Contains(err.Error(), c.wantErrHas)):
				t.Errorf("error %v lacks %q", err, c.wantErrHas)
			case c.wantErrHas == "" && (err != nil || key.Reveal() != c.want):
				t.Errorf("key %q, error %v, want %q", key.Reveal(), err, c.want)
			}
		})
	}
}

func TestMatchingWords(t *testing.T) {
	t.Parallel()
	all := []candidate{{"0190aa", "web"}, {"0190ab", "web2"}, {"0191", "0190"}, {"0192", "twin"}, {"0193", "twin"}}
	for word, want := range map[string][]string{
		"web": {"0190aa"}, "0190a": {"0190aa", "0190ab"}, "0190AB": {"0190ab"}, "0190": {"0191"}, "twin": {"0192", "0193"}, "none": nil, "we": nil,
	} {
		var got []string
		for _, c := range match(all, word) {
			got = append(got, c.id)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%q means %v, want %v", word, got, want)
		}
	}
}

func TestExpiry(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	for s, want := range map[string]string{
		"90d": "2027-02-23T12:00:00Z", "12h": "2026-11-26T00:00:00Z", "2030-01-31": "2030-01-31T00:00:00Z",
		"2030-01-31T08:00:00+02:00": "2030-01-31T06:00:00Z",
	} {
		at, err := parseExpiry(s, now)
		if err != nil || at.UTC().Format(time.RFC3339) != want {
			t.Errorf("%q: %v, error %v, want %s", s, at, err, want)
		}
	}
	for _, s := range []string{"0d", "-1d", "-5h", "soon", "90d ", "1d2d"} {
		if at, err := parseExpiry(s, now); err == nil {
			t.Errorf("%q is taken as %v", s, at)
		}
	}
	if at, err := parseExpiry("", now); at != nil || err != nil {
		t.Errorf("never: %v, error %v", at, err)
	}
}

func TestSourceConfigurationFromFlagsAndFile(t *testing.T) {
	t.Parallel()
	build := func(stdin string, before string, args ...string) (string, error) {
		var o configOptions
		c := &cobra.Command{}
		o.addFlags(c)
		c.SetIn(strings.NewReader(stdin))
		if err := c.ParseFlags(args); err != nil {
			return "", err
		}
		var raw json.RawMessage
		if before != "" {
			raw = json.RawMessage(before)
		}
		config, err := o.build(c, raw)
		if err != nil {
			return "", err
		}
		b, err := json.Marshal(config)
		return string(b), err
	}
	for _, c := range []struct {
		stdin, before string
		args          []string
		want          string
	}{
		{args: []string{"--host", "h", "--path", "/a,b", "--path", "/c"}, want: `{"host":"h","paths":["/a,b","/c"]}`},
		{stdin: `{"host":"f","port":2222,"later_field":{"x":1}}`, args: []string{"--config", "-", "--host", "h"}, want: `{"host":"h","later_field":{"x":1},"port":2222}`},
		{before: `{"host":"old","port":12345678901234567}`, args: []string{"--username", "u"}, want: `{"host":"old","port":12345678901234567,"username":"u"}`},
		{before: `{"host":"old","port":1}`, stdin: `{"host":"new"}`, args: []string{"--config", "-"}, want: `{"host":"new"}`},
		{args: []string{"--trust-on-first-use"}, want: `{"trust_on_first_use":true}`},
	} {
		got, err := build(c.stdin, c.before, c.args...)
		if err != nil || got != c.want {
			t.Errorf("%v: %s, error %v, want %s", c.args, got, err, c.want)
		}
	}
	for _, stdin := range []string{"", "[]", `{"a":1} {"b":2}`, "{"} {
		if got, err := build(stdin, "", "--config", "-"); err == nil {
			t.Errorf("%q is taken as %s", stdin, got)
		}
	}
}

func TestSecretsAreReadFromFilesAndStandardInput(t *testing.T) {
	t.Parallel()
	c := &cobra.Command{}
	c.SetIn(strings.NewReader("pass word \r\n"))
	o := secretOptions{passwordFile: "-"}
	credential, err := o.credential(c)
	if err != nil || credential.Type != "password" || credential.Password.Reveal() != "pass word " {
		t.Errorf("%q, error %v", credential.Password.Reveal(), err)
	}
	c.SetIn(io.LimitReader(zeros{}, 1<<20))
	if _, err := o.credential(c); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("a megabyte as password: %v", err)
	}
	c.SetIn(strings.NewReader("no key at all"))
	if _, err := (&secretOptions{privateKeyFile: "-"}).credential(c); err == nil || strings.Contains(err.Error(), "no key at all") {
		t.Errorf("nonsense as private key: %v", err)
	}
	c.SetIn(strings.NewReader(""))
	if _, err := (&secretOptions{}).credential(c); err == nil || !strings.Contains(err.Error(), "no terminal") {
		t.Errorf("a prompt without a terminal: %v", err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

func TestPrivateKeyUnderAPassphrase(t *testing.T) {
	t.Parallel()
	server := newEncryptedKey(t)
	o := secretOptions{privateKeyFile: server.keyFile, passphraseFile: server.passphraseFile}
	credential, err := o.credential(&cobra.Command{})
	if err != nil || credential.Type != "private_key" || credential.Passphrase.Reveal() != "open sesame" {
		t.Errorf("type %q, error %v", credential.Type, err)
	}
	wrong := filepath.Join(t.TempDir(), "wrong")
	if err := os.WriteFile(wrong, []byte("wrong"), 0o600); err != nil {
		t.Fatal(err)
	}
	o.passphraseFile = wrong
	if _, err := o.credential(&cobra.Command{}); err == nil {
		t.Error("a wrong passphrase is taken")
	}
}
