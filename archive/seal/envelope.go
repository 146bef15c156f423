package seal

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/tink-crypto/tink-go/v2/aead/subtle"
)

// Envelope encryption of the catalog's secrets. Every secret is sealed under a
// data key of its own, and that under a key-encryption key (KEK) of the ring,
// both with AES-256-GCM. A ciphertext is
//
//	version (1 byte) | length of the wrapped data key (2 bytes, big endian) |
//	wrapped data key | sealed secret
//
// and both halves are bound to the AD, so that a ciphertext that was moved to
// another row, column or tenant does not open.
const (
	envelopeVersion = 1
	envelopeHeader  = 3
	dataKeySize     = 32
)

// ErrEnvelope means that the ciphertext was altered, cut short, moved from elsewhere, or
// sealed under another key of the same name.
var ErrEnvelope = errors.New("the stored secret does not open: it was altered or belongs elsewhere")

// UnknownKeyError tells that a secret is sealed under a KEK that is not in the ring.
type UnknownKeyError struct{ KeyID string }

func (e *UnknownKeyError) Error() string {
	return fmt.Sprintf("HUB_ENCRYPTION_KEK has no key named %q, which a stored secret needs", e.KeyID)
}

// AD is where a secret stands in the catalog.
type AD struct {
	Tenant uuid.UUID // zero for what belongs to no tenant
	Table  string
	Row    uuid.UUID
	Column string
}

// bytes encodes the AD without ambiguity, together with the envelope's version.
func (a AD) bytes() []byte {
	b := append([]byte{envelopeVersion}, a.Tenant[:]...)
	b = append(b, a.Row[:]...)
	for _, field := range []string{a.Table, a.Column} {
		b = binary.BigEndian.AppendUint16(b, uint16(len(field)))
		b = append(b, field...)
	}
	return b
}

// Seal encrypts under the ring's first KEK and names it.
func (k *Keyring) Seal(plaintext []byte, ad AD) (ciphertext []byte, keyID string, err error) {
	dataKey := make([]byte, dataKeySize)
	if _, err := rand.Read(dataKey); err != nil {
		return nil, "", fmt.Errorf("make a data key: %w", err)
	}
	defer clear(dataKey)
	sealed, err := encrypt(dataKey, plaintext, ad)
	if err != nil {
		return nil, "", err
	}
	ciphertext, err = k.wrap(k.first(), dataKey, sealed, ad)
	return ciphertext, k.first().id, err
}

// Open decrypts what Seal returned with this key id and AD.
func (k *Keyring) Open(ciphertext []byte, keyID string, ad AD) ([]byte, error) {
	dataKey, sealed, err := k.unwrap(ciphertext, keyID, ad)
	if err != nil {
		return nil, err
	}
	defer clear(dataKey)
	return decrypt(dataKey, sealed, ad)
}

// Rewrap puts the secret's data key under the ring's first KEK. The secret
// itself is not decrypted; that it still opens is checked.
func (k *Keyring) Rewrap(ciphertext []byte, keyID string, ad AD) (rewrapped []byte, newKeyID string, err error) {
	dataKey, sealed, err := k.unwrap(ciphertext, keyID, ad)
	if err != nil {
		return nil, "", err
	}
	defer clear(dataKey)
	plaintext, err := decrypt(dataKey, sealed, ad)
	if err != nil {
		return nil, "", err
	}
	clear(plaintext)
	rewrapped, err = k.wrap(k.first(), dataKey, sealed, ad)
	return rewrapped, k.first().id, err
}

func (k *Keyring) wrap(key kek, dataKey, sealed []byte, ad AD) ([]byte, error) {
	wrapped, err := encrypt(key.raw, dataKey, ad)
	if err != nil {
		return nil, err
	}
	out := []byte{envelopeVersion}
	out = binary.BigEndian.AppendUint16(out, uint16(len(wrapped)))
	out = append(out, wrapped...)
	return append(out, sealed...), nil
}

func (k *Keyring) unwrap(ciphertext []byte, keyID string, ad AD) (dataKey, sealed []byte, err error) {
	key, ok := k.byID(keyID)
	if !ok {
		return nil, nil, &UnknownKeyError{KeyID: keyID}
	}
	if len(ciphertext) < envelopeHeader || ciphertext[0] != envelopeVersion {
		return nil, nil, ErrEnvelope
	}
	size := int(binary.BigEndian.Uint16(ciphertext[1:envelopeHeader]))
	rest := ciphertext[envelopeHeader:]
	if size > len(rest) {
		return nil, nil, ErrEnvelope
	}
	dataKey, err = decrypt(key.raw, rest[:size], ad)
	return dataKey, rest[size:], err
}

func encrypt(key, plaintext []byte, ad AD) ([]byte, error) {
	gcm, err := subtle.NewAESGCM(key)
	if err != nil {
		return nil, fmt.Errorf("seal a secret: %w", err)
	}
	ciphertext, err := gcm.Encrypt(plaintext, ad.bytes())
	if err != nil {
		return nil, fmt.Errorf("seal a secret: %w", err)
	}
	return ciphertext, nil
}

func decrypt(key, ciphertext []byte, ad AD) ([]byte, error) {
	gcm, err := subtle.NewAESGCM(key)
	if err != nil {
		return nil, ErrEnvelope
	}
	plaintext, err := gcm.Decrypt(ciphertext, ad.bytes())
	if err != nil {
		return nil, ErrEnvelope
	}
	return plaintext, nil
}
