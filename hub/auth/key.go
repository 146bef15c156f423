package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/google/uuid"

	"xvault/internal/secret"
)

// Keys look like xv_<id>_<secret>: the id as 32 hex digits, the secret as 256
// random bits in lower-case base32. The prefix lets secret scanners find one.
const keyPrefix = "xv_"

const secretSize = 32

func encoding() *base32.Encoding {
	return base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)
}

// NewKey makes the key with this id and the hash by which it is known again.
// A plain SHA-256 is enough, for there are 256 bits to guess.
func NewKey(id uuid.UUID) (key secret.Text, hash []byte, err error) {
	text, err := randomText()
	if err != nil {
		return secret.Text{}, nil, err
	}
	sum := sha256.Sum256([]byte(text))
	return secret.New(keyPrefix + hex.EncodeToString(id[:]) + "_" + text), sum[:], nil
}

// NewSecret makes a fresh operator's key or join token.
func NewSecret() (secret.Text, error) {
	text, err := randomText()
	return secret.New(text), err
}

func randomText() (string, error) {
	random := make([]byte, secretSize)
	if _, err := rand.Read(random); err != nil {
		return "", fmt.Errorf("make a key: %w", err)
	}
	return encoding().EncodeToString(random), nil
}

// parseKey splits a presented key into its id and the hash of its secret.
func parseKey(key string) (id uuid.UUID, hash []byte, ok bool) {
	rest, found := strings.CutPrefix(key, keyPrefix)
	if !found {
		return uuid.Nil, nil, false
	}
	idText, secretText, found := strings.Cut(rest, "_")
	if !found || len(idText) != hex.EncodedLen(len(id)) || secretText == "" {
		return uuid.Nil, nil, false
	}
	if _, err := hex.Decode(id[:], []byte(idText)); err != nil {
		return uuid.Nil, nil, false
	}
	sum := sha256.Sum256([]byte(secretText))
	return id, sum[:], true
}
