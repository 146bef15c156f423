// Package secret holds values that must never be printed: passwords, private
// keys, tokens, key-encryption keys. A Text shows as "[redacted]" to every
// formatter, logger and encoder of the standard library; only Reveal gives the
// value away, so that a search for Reveal finds every place that handles one.
package secret

import (
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"log/slog"
)

const redacted = "[redacted]"

// Text is a secret string. The zero value is "no secret".
type Text struct{ value string }

// New wraps a value that must not be printed.
func New(value string) Text { return Text{value} }

// Reveal returns the secret itself.
func (t Text) Reveal() string { return t.value }

// IsZero reports whether there is no secret at all.
func (t Text) IsZero() bool { return t.value == "" }

// Equal compares in constant time for values of equal length.
func (t Text) Equal(other Text) bool {
	return subtle.ConstantTimeCompare([]byte(t.value), []byte(other.value)) == 1
}

// String implements fmt.Stringer.
func (t Text) String() string { return redacted }

// Format implements fmt.Formatter, so that no verb, %#v and %x included, reaches the value.
func (t Text) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// LogValue implements slog.LogValuer.
func (t Text) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON never encodes the value.
func (t Text) MarshalJSON() ([]byte, error) { return json.Marshal(redacted) }

// UnmarshalJSON takes a JSON string.
func (t *Text) UnmarshalJSON(b []byte) error {
	if err := json.Unmarshal(b, &t.value); err != nil {
		// The decoder's own message would quote the input.
		return fmt.Errorf("secret: not a JSON string")
	}
	return nil
}
