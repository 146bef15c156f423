package auth

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/uuid"
)

func TestKeysAreKnownAgain(t *testing.T) {
	t.Parallel()
	id := uuid.Must(uuid.NewV7())
	key, hash, err := NewKey(id)
	if err != nil {
		t.Fatal(err)
	}
	gotID, gotHash, ok := parseKey(key.Reveal())
	if !ok || gotID != id || !bytes.Equal(gotHash, hash) {
		t.Errorf("%v %v", ok, gotID)
	}
	if strings.Contains(key.Reveal(), string(hash)) || len(key.Reveal()) != len("xv_")+32+1+52 {
		t.Errorf("a key of %d characters", len(key.Reveal()))
	}
	_, other, err := NewKey(id)
	if err != nil || bytes.Equal(hash, other) {
		t.Errorf("two keys with one hash, or %v", err)
	}
}

func FuzzParseKey(f *testing.F) {
	key, _, err := NewKey(uuid.Nil)
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{key.Reveal(), "", "xv_", "xv__", "xv_" + strings.Repeat("0", 32) + "_", "xv_" + strings.Repeat("g", 32) + "_a"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, key string) {
		_, hash, ok := parseKey(key)
		if !ok {
			return
		}
		if len(hash) != 32 || !strings.HasPrefix(key, keyPrefix) {
			t.Errorf("%q is taken for a key", key)
		}
	})
}
