package seal

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"xvault/internal/secret"
)

func b64(b byte, n int) string {
	return base64.StdEncoding.EncodeToString([]byte(strings.Repeat(string(rune(b)), n)))
}

func TestParseKEKs(t *testing.T) {
	t.Parallel()
	good := b64('k', 32)
	cases := []struct {
		name, setting string
		ids           []string
		wantErr       string
	}{
		{"quick start", "test-key-32-bytes-long!!!!!!", []string{"passphrase"}, ""},
		{"passphrase with commas", "one, two, and three", []string{"passphrase"}, ""},
		{"one key", "k1:" + good, []string{"k1"}, ""},
		{"one key with a newline behind it", "k1:" + good + "\n", []string{"k1"}, ""},
		{"several keys", "k2:" + b64('b', 32) + ", k1:" + good, []string{"k2", "k1"}, ""},
		{"a key and a passphrase", "k1:" + good + ",passphrase:test-key-32-bytes-long!!!!!!", []string{"k1", "passphrase"}, ""},
		{"empty", "", nil, "not set"},
		{"short passphrase", "hunter2", nil, "at least 16"},
		{"not base64", "k1:hunter2!hunter2!", nil, "not base64"},
		{"too short", "k1:" + b64('k', 31), nil, "31 bytes"},
		{"too long", "k1:" + b64('k', 33), nil, "33 bytes"},
		{"no key id", ":" + good, nil, "key id"},
		{"odd key id", "k 1:" + good, nil, "key id"},
		{"twice", "k1:" + good + ",k1:" + good, nil, "twice"},
		{"no colon in a list", "k1:" + good + ",hunter2hunter2hunter2", nil, "entry 2"},
		{"comma behind", "k1:" + good + ",", nil, "entry 2"},
		{"wrong order", good + ":k1", nil, "entry 1"},
	}
	for _, c := range cases {
		setting, err := ParseKEKs(secret.New(c.setting))
		if c.wantErr == "" {
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			for i, id := range c.ids {
				if len(setting.entries) != len(c.ids) || setting.entries[i].id != id || !setting.Has(id) {
					t.Errorf("%s: entries %d, want %v", c.name, len(setting.entries), c.ids)
				}
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), c.wantErr) || !strings.Contains(err.Error(), "HUB_ENCRYPTION_KEK") {
			t.Errorf("%s: error %v, want one with %q", c.name, err, c.wantErr)
		}
		if err != nil && (strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), good)) {
			t.Errorf("%s: the error quotes the setting: %v", c.name, err)
		}
	}
}

// memory is the encryption_keys table.
type memory struct{ rows []StoredKEK }

func (m *memory) enroll(row StoredKEK) (StoredKEK, error) {
	for _, have := range m.rows {
		if have.KeyID == row.KeyID {
			return have, nil
		}
	}
	m.rows = append(m.rows, row)
	return row, nil
}

func mustParse(t *testing.T, setting string) KEKSetting {
	t.Helper()
	parsed, err := ParseKEKs(secret.New(setting))
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func TestKeyringProvesItsKeys(t *testing.T) {
	t.Parallel()
	const phrase = "test-key-32-bytes-long!!!!!!"
	var table memory
	first, err := mustParse(t, "k1:"+b64('k', 32)+",passphrase:"+phrase).Keyring(nil, table.enroll)
	if err != nil {
		t.Fatal(err)
	}
	if len(table.rows) != 2 || table.rows[0].Salt != nil || len(table.rows[1].Salt) != saltSize {
		t.Fatalf("enrolled %+v", table.rows)
	}
	ciphertext, keyID, err := first.Seal([]byte("hunter2"), testAD())
	if err != nil || keyID != "k1" || !first.Has("passphrase") || first.FirstKeyID() != "k1" {
		t.Fatal(keyID, err)
	}
	again, err := mustParse(t, phrase).Keyring(table.rows, table.enroll)
	if err != nil {
		t.Fatalf("the same passphrase: %v", err)
	}
	if _, err := again.Open(ciphertext, keyID, testAD()); err == nil {
		t.Error("a ring without k1 opens what is under k1")
	}
	for name, setting := range map[string]string{
		"another passphrase":           "another passphrase entirely",
		"another key of that name":     "k1:" + b64('x', 32),
		"the right one second, though": "passphrase:" + phrase + ",k1:" + b64('x', 32),
	} {
		var wrong *WrongKEKError
		if _, err := mustParse(t, setting).Keyring(table.rows, table.enroll); !errors.As(err, &wrong) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(table.rows) != 2 {
		t.Errorf("wrong keys were enrolled: %d rows", len(table.rows))
	}
}

// Two hubs that start at once on an empty catalog make two salts; the one that
// was stored first counts for both.
func TestKeyringTakesTheSaltOfAFasterHub(t *testing.T) {
	t.Parallel()
	const phrase = "test-key-32-bytes-long!!!!!!"
	var table memory
	fast, err := mustParse(t, phrase).Keyring(nil, table.enroll)
	if err != nil {
		t.Fatal(err)
	}
	slow, err := mustParse(t, phrase).Keyring(nil, table.enroll) // it saw no rows yet
	if err != nil {
		t.Fatal(err)
	}
	ciphertext, keyID, err := slow.Seal([]byte("hunter2"), testAD())
	if err != nil {
		t.Fatal(err)
	}
	if opened, err := fast.Open(ciphertext, keyID, testAD()); err != nil || string(opened) != "hunter2" {
		t.Errorf("the other hub: %q %v", opened, err)
	}
	if _, err := mustParse(t, "another passphrase entirely").Keyring(nil, table.enroll); err == nil {
		t.Error("a slower hub with another passphrase starts")
	}
}

func TestNewKEK(t *testing.T) {
	t.Parallel()
	made, err := NewKEK("k20261125")
	if err != nil {
		t.Fatal(err)
	}
	mustParse(t, made.Reveal())
	other, err := NewKEK("k20261125")
	if err != nil || other.Equal(made) {
		t.Errorf("two keys are equal, or %v", err)
	}
	for _, id := range []string{"", "a b", "a:b", "a,b", PassphraseKeyID, strings.Repeat("x", 65)} {
		if _, err := NewKEK(id); err == nil {
			t.Errorf("key id %q is taken", id)
		}
	}
}
