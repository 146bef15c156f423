package seal

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/uuid"
	"pgregory.net/rapid"
)

func testRing(ids ...string) *Keyring {
	ring := &Keyring{}
	for i, id := range ids {
		ring.keys = append(ring.keys, kek{id, bytes.Repeat([]byte{byte(i + len(id))}, kekSize)})
	}
	return ring
}

func testAD() AD {
	return AD{
		Tenant: uuid.MustParse("0190a2b0-0000-7000-8000-000000000001"), Table: "credentials",
		Row: uuid.MustParse("0190a2b0-0000-7000-8000-000000000002"), Column: "ciphertext",
	}
}

func TestEnvelopeOpensWhatItSealed(t *testing.T) {
	t.Parallel()
	ring := testRing("a")
	rapid.Check(t, func(t *rapid.T) {
		plaintext := rapid.SliceOf(rapid.Byte()).Draw(t, "plaintext")
		ciphertext, keyID, err := ring.Seal(plaintext, testAD())
		if err != nil || keyID != "a" {
			t.Fatalf("seal: %q %v", keyID, err)
		}
		again, _, err := ring.Seal(plaintext, testAD())
		if err != nil || bytes.Equal(ciphertext, again) {
			t.Fatalf("two seals are equal, or failed: %v", err)
		}
		if len(plaintext) > 8 && bytes.Contains(ciphertext, plaintext) {
			t.Fatal("the ciphertext shows the plaintext")
		}
		opened, err := ring.Open(ciphertext, keyID, testAD())
		if err != nil || !bytes.Equal(opened, plaintext) {
			t.Fatalf("open: %x %v", opened, err)
		}
	})
}

// A ciphertext that was moved to another place does not open there.
func TestEnvelopeIsBoundToItsPlace(t *testing.T) {
	t.Parallel()
	ring := testRing("a")
	ciphertext, keyID, err := ring.Seal([]byte("hunter2"), testAD())
	if err != nil {
		t.Fatal(err)
	}
	moves := map[string]func(*AD){
		"tenant": func(a *AD) { a.Tenant[15]++ },
		"table":  func(a *AD) { a.Table = "tenant_keys" },
		"row":    func(a *AD) { a.Row[15]++ },
		"column": func(a *AD) { a.Column = "other" },
		"split":  func(a *AD) { a.Table, a.Column = a.Table+a.Column[:1], a.Column[1:] },
	}
	for name, move := range moves {
		ad := testAD()
		move(&ad)
		if _, err := ring.Open(ciphertext, keyID, ad); !errors.Is(err, ErrEnvelope) {
			t.Errorf("%s: %v", name, err)
		}
		if _, _, err := ring.Rewrap(ciphertext, keyID, ad); !errors.Is(err, ErrEnvelope) {
			t.Errorf("rewrap with another %s: %v", name, err)
		}
	}
}

func TestEnvelopeDetectsEveryChange(t *testing.T) {
	t.Parallel()
	ring := testRing("a")
	ciphertext, keyID, err := ring.Seal([]byte("hunter2"), testAD())
	if err != nil {
		t.Fatal(err)
	}
	for i := range ciphertext {
		altered := slices.Clone(ciphertext)
		altered[i] ^= 1
		if _, err := ring.Open(altered, keyID, testAD()); !errors.Is(err, ErrEnvelope) {
			t.Errorf("byte %d altered: %v", i, err)
		}
		if _, err := ring.Open(ciphertext[:i], keyID, testAD()); !errors.Is(err, ErrEnvelope) {
			t.Errorf("cut to %d bytes: %v", i, err)
		}
		if _, _, err := ring.Rewrap(altered, keyID, testAD()); !errors.Is(err, ErrEnvelope) {
			t.Errorf("rewrap with byte %d altered: %v", i, err)
		}
	}
}

func TestEnvelopeRewraps(t *testing.T) {
	t.Parallel()
	old, both, fresh := testRing("old"), testRing("newest", "old"), testRing("newest")
	both.keys[1] = old.keys[0]
	ciphertext, keyID, err := old.Seal([]byte("hunter2"), testAD())
	if err != nil {
		t.Fatal(err)
	}
	rewrapped, newID, err := both.Rewrap(ciphertext, keyID, testAD())
	if err != nil || newID != "newest" {
		t.Fatalf("rewrap: %q %v", newID, err)
	}
	for _, ring := range []*Keyring{both, fresh} {
		if opened, err := ring.Open(rewrapped, newID, testAD()); err != nil || string(opened) != "hunter2" {
			t.Errorf("open: %q %v", opened, err)
		}
	}
	var unknown *UnknownKeyError
	if _, err := old.Open(rewrapped, newID, testAD()); !errors.As(err, &unknown) || unknown.KeyID != "newest" {
		t.Errorf("a ring without the key: %v", err)
	}
	if _, err := old.Open(rewrapped, keyID, testAD()); !errors.Is(err, ErrEnvelope) {
		t.Errorf("the old key opens what was rewrapped: %v", err)
	}
}

func FuzzEnvelopeOpen(f *testing.F) {
	ring := testRing("a")
	ciphertext, _, err := ring.Seal([]byte("hunter2"), testAD())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(ciphertext)
	f.Add([]byte{envelopeVersion, 0xff, 0xff})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, altered []byte) {
		opened, err := ring.Open(altered, "a", testAD())
		if err == nil && !bytes.Equal(altered, ciphertext) {
			t.Fatalf("a forged envelope opens: %x to %x", altered, opened)
		}
	})
}

func TestKeyringNeverShowsItsKeys(t *testing.T) {
	t.Parallel()
	ring := testRing("a")
	for _, format := range []string{"%v", "%s", "%+v"} {
		if got := fmt.Sprintf(format, ring); got != "keyring[redacted]" {
			t.Errorf("%s shows %q", format, got)
		}
	}
}
