package hub_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

func privateKey(t *testing.T, passphrase string) string {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	var block *pem.Block
	if passphrase == "" {
		block, err = ssh.MarshalPrivateKey(key, "")
	} else {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(key, "", []byte(passphrase))
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(block))
}

func TestCredentialSecrets(t *testing.T) {
	t.Parallel()
	l := start(t)
	_, key := l.tenant("one")
	plain, sealed := privateKey(t, ""), privateKey(t, "open sesame")
	cases := []struct {
		name   string
		secret object
		at     string // where it is wrong; empty: it is right
	}{
		{"password", object{"type": "password", "password": "pw"}, ""},
		{"password with odd characters", object{"type": "password", "password": "\x00\n\"'$(id) ü"}, ""},
		{"key", object{"type": "private_key", "private_key": plain}, ""},
		{"key without its last newline", object{"type": "private_key", "private_key": strings.TrimSpace(plain)}, ""},
		{"key with passphrase", object{"type": "private_key", "private_key": sealed, "passphrase": "open sesame"}, ""},
		{"key with a needless passphrase", object{"type": "private_key", "private_key": plain, "passphrase": "x"}, ""},
		{"no password", object{"type": "password"}, "body.secret.password"},
		{"empty password", object{"type": "password", "password": ""}, "body.secret.password"},
		{"long password", object{"type": "password", "password": strings.Repeat("x", 5000)}, "body.secret.password"},
		{"both", object{"type": "password", "password": "pw", "private_key": plain}, "body.secret.private_key"},
		{"no key", object{"type": "private_key"}, "body.secret.private_key"},
		{"public key", object{"type": "private_key", "private_key": "ssh-ed25519 AAAA"}, "body.secret.private_key"},
		{"passphrase missing", object{"type": "private_key", "private_key": sealed}, "body.secret.passphrase"},
		{"passphrase wrong", object{"type": "private_key", "private_key": sealed, "passphrase": "nope"}, "body.secret.passphrase"},
		{"no type", object{"password": "pw"}, "body.secret.type"},
		{"other type", object{"type": "agent"}, "body.secret.type"},
	}
	for _, c := range cases {
		r := l.do(key, "POST", "/api/v1/credentials", object{"kind": "source", "name": c.name, "secret": c.secret})
		if c.at == "" {
			if r.status != 201 || strings.Contains(string(r.body), "ciphertext") || strings.Contains(string(r.body), `"secret"`) {
				t.Errorf("%s: %d %s", c.name, r.status, r.body)
			}
			continue
		}
		if p := r.problem(t); r.status != 422 || p.locations() != c.at {
			t.Errorf("%s: %d %s, want 422 at %s", c.name, r.status, r.body, c.at)
		}
	}
}

func TestCredentialLife(t *testing.T) {
	t.Parallel()
	l := start(t)
	tenant, key := l.tenant("one")
	id := l.credential(key, tenant, "pw")
	source := l.source(key, tenant, id)
	var replaced object
	l.must(200, key, "PUT", "/api/v1/credentials/"+id+"/secret", object{"type": "private_key", "private_key": privateKey(t, "")}, &replaced)
	if replaced["secret_type"] != "private_key" {
		t.Errorf("replaced: %v", replaced)
	}
	l.must(200, key, "PUT", "/api/v1/credentials/"+id+"/secret", object{"secret": object{"type": "password", "password": "new"}}, &replaced)
	if replaced["secret_type"] != "password" {
		t.Errorf("replaced: %v", replaced)
	}
	for at, body := range map[string]object{
		"body.type":            {},
		"body.secret":          {"secret": object{"type": "password", "password": "a"}, "type": "password"},
		"body.password":        {"type": "password"},
		"body.secret.password": {"secret": object{"type": "password"}},
	} {
		if p := l.must(422, key, "PUT", "/api/v1/credentials/"+id+"/secret", body, nil).problem(t); p.locations() != at {
			t.Errorf("%v: at %q, want %q", body, p.locations(), at)
		}
	}
	if p := l.must(409, key, "DELETE", "/api/v1/credentials/"+id, nil, nil).problem(t); p.Code != "credential_in_use" || !strings.Contains(p.Detail, source) {
		t.Errorf("in use: %+v", p)
	}
	l.must(204, key, "DELETE", "/api/v1/sources/"+source, nil, nil)
	l.must(204, key, "DELETE", "/api/v1/credentials/"+id, nil, nil)
	l.must(404, key, "GET", "/api/v1/credentials/"+id, nil, nil)
	l.must(404, key, "PUT", "/api/v1/credentials/"+id+"/secret", object{"type": "password", "password": "x"}, nil)
}
