package seal

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"golang.org/x/crypto/argon2"

	"xvault/internal/secret"
)

// Kinds of KEKs.
const (
	KEKRaw        = "raw"        // 32 random bytes
	KEKPassphrase = "passphrase" // stretched, with a salt that the catalog keeps
)

// PassphraseKeyID is the key id of the one passphrase that a catalog may have.
const PassphraseKeyID = "passphrase"

const (
	kekSize       = 32
	saltSize      = 16
	minPassphrase = 16
	// argon2id parameters (RFC 9106's second recommendation). They are part of
	// what a passphrase means: changing them would lock out existing catalogs.
	argonTime    = 3
	argonMemory  = 64 << 10 // KiB
	argonThreads = 4
)

// kek is one key-encryption key.
type kek struct {
	id  string
	raw []byte
}

// Keyring holds the KEKs of a running hub; the first seals, all open. It is
// safe for concurrent use.
type Keyring struct{ keys []kek }

func (k *Keyring) first() kek { return k.keys[0] }

func (k *Keyring) byID(id string) (kek, bool) {
	for _, key := range k.keys {
		if key.id == id {
			return key, true
		}
	}
	return kek{}, false
}

// FirstKeyID names the KEK that seals.
func (k *Keyring) FirstKeyID() string { return k.first().id }

// Has reports whether the ring can open what was sealed under this KEK.
func (k *Keyring) Has(keyID string) bool {
	_, ok := k.byID(keyID)
	return ok
}

// String never shows a key.
func (k *Keyring) String() string { return "keyring[redacted]" }

// KEKSetting is a parsed HUB_ENCRYPTION_KEK. A passphrase in it becomes a key
// only with the salt that the catalog keeps.
type KEKSetting struct{ entries []kekEntry }

type kekEntry struct {
	id         string
	raw        []byte
	passphrase secret.Text
}

var keyIDPattern = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// ParseKEKs reads HUB_ENCRYPTION_KEK: "key_id:base64(32 bytes)", several of
// them separated by commas, or a bare passphrase without a colon. In a list a
// passphrase is written "passphrase:<text>", which is how a catalog moves from
// one to random keys. Errors never quote the setting.
func ParseKEKs(setting secret.Text) (KEKSetting, error) {
	text := strings.TrimSpace(setting.Reveal())
	if text == "" {
		return KEKSetting{}, errors.New("HUB_ENCRYPTION_KEK is not set: `xvault hub keygen` makes one")
	}
	if !strings.Contains(text, ":") {
		entry, err := passphraseEntry(text)
		return KEKSetting{entries: []kekEntry{entry}}, err
	}
	var parsed KEKSetting
	seen := map[string]bool{}
	for i, part := range strings.Split(text, ",") {
		entry, err := parseKEK(strings.TrimSpace(part))
		if err != nil {
			return KEKSetting{}, fmt.Errorf("HUB_ENCRYPTION_KEK: entry %d: %w", i+1, err)
		}
		if seen[entry.id] {
			return KEKSetting{}, fmt.Errorf("HUB_ENCRYPTION_KEK: entry %d: its key id appears twice", i+1)
		}
		seen[entry.id] = true
		parsed.entries = append(parsed.entries, entry)
	}
	return parsed, nil
}

func passphraseEntry(text string) (kekEntry, error) {
	if len(text) < minPassphrase {
		return kekEntry{}, fmt.Errorf("HUB_ENCRYPTION_KEK: a passphrase needs at least %d characters", minPassphrase)
	}
	return kekEntry{id: PassphraseKeyID, passphrase: secret.New(text)}, nil
}

func parseKEK(part string) (kekEntry, error) {
	id, value, found := strings.Cut(part, ":")
	if !found {
		return kekEntry{}, errors.New(`it has no colon; keys are "key_id:base64", a passphrase in a list is "passphrase:<text>"`)
	}
	if id == PassphraseKeyID {
		return passphraseEntry(value)
	}
	if !keyIDPattern.MatchString(id) {
		return kekEntry{}, errors.New("its key id is not 1 to 64 of the characters A-Z a-z 0-9 . _ -")
	}
	raw, err := base64.StdEncoding.DecodeString(value)
	if err != nil {
		raw, err = base64.RawURLEncoding.DecodeString(value)
	}
	if err != nil {
		return kekEntry{}, errors.New("what follows the colon is not base64")
	}
	if len(raw) != kekSize {
		return kekEntry{}, fmt.Errorf("the key has %d bytes, not %d", len(raw), kekSize)
	}
	return kekEntry{id: id, raw: raw}, nil
}

// String never shows a key.
func (s KEKSetting) String() string { return "KEKs[redacted]" }

// StoredKEK is what a catalog keeps of a KEK: its name, the salt of a
// passphrase, and a canary that only the right key opens.
type StoredKEK struct {
	KeyID  string
	Kind   string
	Salt   []byte
	Canary []byte
}

var canaryPlaintext = []byte("xvault canary")

func canaryAD(keyID string) AD {
	// The row's key is a text, so that it stands with the column.
	return AD{Table: "encryption_keys", Column: "canary/" + keyID}
}

// WrongKEKError tells that the key at hand is not the one that the catalog was sealed with.
type WrongKEKError struct{ KeyID string }

func (e *WrongKEKError) Error() string {
	if e.KeyID == PassphraseKeyID {
		return "HUB_ENCRYPTION_KEK: this is not the passphrase that the catalog's secrets were sealed with"
	}
	return fmt.Sprintf("HUB_ENCRYPTION_KEK: the key named %q is not the one that the catalog's secrets were sealed with", e.KeyID)
}

// Keyring makes the ring. Every KEK that the catalog knows is checked against
// its canary; for the others, enroll is called with what to store, and returns
// what the catalog then holds: another hub may have been faster.
func (s KEKSetting) Keyring(stored []StoredKEK, enroll func(StoredKEK) (StoredKEK, error)) (*Keyring, error) {
	known := make(map[string]StoredKEK, len(stored))
	for _, row := range stored {
		known[row.KeyID] = row
	}
	ring := &Keyring{}
	for _, entry := range s.entries {
		row, ok := known[entry.id]
		if !ok {
			fresh, err := entry.fresh()
			if err != nil {
				return nil, err
			}
			if row, err = enroll(fresh); err != nil {
				return nil, fmt.Errorf("enroll encryption key %q: %w", entry.id, err)
			}
		}
		key, err := entry.check(row)
		if err != nil {
			return nil, err
		}
		ring.keys = append(ring.keys, key)
	}
	return ring, nil
}

func (e kekEntry) kind() string {
	if e.raw == nil {
		return KEKPassphrase
	}
	return KEKRaw
}

func (e kekEntry) key(salt []byte) kek {
	if e.raw != nil {
		return kek{e.id, e.raw}
	}
	raw := argon2.IDKey([]byte(e.passphrase.Reveal()), salt, argonTime, argonMemory, argonThreads, kekSize)
	return kek{e.id, raw}
}

// fresh makes the row of a KEK that the catalog does not know yet.
func (e kekEntry) fresh() (StoredKEK, error) {
	row := StoredKEK{KeyID: e.id, Kind: e.kind()}
	if row.Kind == KEKPassphrase {
		row.Salt = make([]byte, saltSize)
		if _, err := rand.Read(row.Salt); err != nil {
			return StoredKEK{}, fmt.Errorf("make a salt: %w", err)
		}
	}
	var err error
	ring := &Keyring{keys: []kek{e.key(row.Salt)}}
	row.Canary, _, err = ring.Seal(canaryPlaintext, canaryAD(e.id))
	return row, err
}

func (e kekEntry) check(row StoredKEK) (kek, error) {
	if row.Kind != e.kind() {
		return kek{}, &WrongKEKError{KeyID: e.id}
	}
	key := e.key(row.Salt)
	ring := &Keyring{keys: []kek{key}}
	plaintext, err := ring.Open(row.Canary, e.id, canaryAD(e.id))
	if err != nil || !bytes.Equal(plaintext, canaryPlaintext) {
		return kek{}, &WrongKEKError{KeyID: e.id}
	}
	return key, nil
}

// NewKEK makes a fresh "key_id:base64" entry for HUB_ENCRYPTION_KEK.
func NewKEK(keyID string) (secret.Text, error) {
	if !keyIDPattern.MatchString(keyID) || keyID == PassphraseKeyID {
		return secret.Text{}, fmt.Errorf("%q is not a valid key id", keyID)
	}
	raw := make([]byte, kekSize)
	if _, err := rand.Read(raw); err != nil {
		return secret.Text{}, fmt.Errorf("make a key: %w", err)
	}
	return secret.New(keyID + ":" + base64.StdEncoding.EncodeToString(raw)), nil
}

// Has reports whether the setting names this key.
func (s KEKSetting) Has(keyID string) bool {
	for _, e := range s.entries {
		if e.id == keyID {
			return true
		}
	}
	return false
}

// FirstKeyID names the key that would seal.
func (s KEKSetting) FirstKeyID() string { return s.entries[0].id }
