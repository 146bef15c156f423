// Package ticket is the slip with which someone fetches restored files from a
// worker: facts, signed by the hub. Whoever holds one may use it, any number of
// times, until it expires or is revoked; so it is a secret, and stands in no
// table and no log.
//
// A ticket has exactly one text. Every altered, added or left out character is
// refused, also those that decoders tend to forgive.
package ticket

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"time"

	"github.com/google/uuid"

	"xvault/internal/job"
)

// Kind is what a ticket is good for.
type Kind byte

// The kinds of tickets.
const (
	Download Kind = 1 // Subject is the restore job
	Files    Kind = 2 // lists the files of a snapshot, which is the Subject
)

// Ticket is what a ticket says.
type Ticket struct {
	ID      uuid.UUID
	Kind    Kind
	Subject uuid.UUID
	Worker  string // the one that it is for
	// Selection is the hash of what it gives, by Select.
	Selection [sha256.Size]byte
	Expires   time.Time // whole seconds; by the catalog's clock
}

// ErrInvalid means that a text is no ticket of this hub.
var ErrInvalid = errors.New("this is not a ticket of this hub")

const (
	version = 1
	// domain keeps a signature from meaning anything elsewhere.
	domain = "xvault download ticket\x00"
	// fixed is the length of what is always there: version, kind, two ids, hash,
	// time.
	fixed     = 1 + 1 + 16 + 16 + sha256.Size + 8
	maxWorker = 64
	// maxText is the length of the longest ticket.
	maxText = (fixed+maxWorker+ed25519.SignatureSize)*4/3 + 4
)

var encoding = base64.RawURLEncoding.Strict()

// Sign makes the ticket's text. The same facts give the same text.
func Sign(key ed25519.PrivateKey, t Ticket) string {
	body := t.encode()
	return encoding.EncodeToString(append(body, ed25519.Sign(key, signed(body))...))
}

// Open reads a text that one of the keys signed; ErrInvalid for any other.
// Whether it has expired or was revoked is not looked at: that is the hub's word.
func Open(keys []ed25519.PublicKey, text string) (Ticket, error) {
	if len(text) > maxText {
		return Ticket{}, ErrInvalid
	}
	raw, err := encoding.DecodeString(text)
	// The decoder passes over line breaks: only the one text counts.
	if err != nil || encoding.EncodeToString(raw) != text || len(raw) < fixed+ed25519.SignatureSize {
		return Ticket{}, ErrInvalid
	}
	body, signature := raw[:len(raw)-ed25519.SignatureSize], raw[len(raw)-ed25519.SignatureSize:]
	for _, key := range keys {
		if len(key) == ed25519.PublicKeySize && ed25519.Verify(key, signed(body), signature) {
			return decode(body)
		}
	}
	return Ticket{}, ErrInvalid
}

func signed(body []byte) []byte { return append([]byte(domain), body...) }

func (t Ticket) encode() []byte {
	b := make([]byte, 0, fixed+len(t.Worker)+ed25519.SignatureSize)
	b = append(b, version, byte(t.Kind))
	b = append(b, t.ID[:]...)
	b = append(b, t.Subject[:]...)
	b = append(b, t.Selection[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(t.Expires.Unix()))
	return append(b, t.Worker...)
}

func decode(b []byte) (Ticket, error) {
	if len(b) < fixed || b[0] != version {
		return Ticket{}, ErrInvalid
	}
	t := Ticket{Kind: Kind(b[1]), Worker: string(b[fixed:])}
	copy(t.ID[:], b[2:])
	copy(t.Subject[:], b[18:])
	copy(t.Selection[:], b[34:])
	t.Expires = time.Unix(int64(binary.BigEndian.Uint64(b[34+sha256.Size:])), 0).UTC()
	if (t.Kind != Download && t.Kind != Files) || !job.ValidWorkerID(t.Worker) {
		return Ticket{}, ErrInvalid
	}
	return t, nil
}

// Select is the hash of what a download gives.
func Select(p job.RestorePayload) [sha256.Size]byte {
	h := sha256.New()
	// Lengths keep one list from passing for another.
	field := func(s string) {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(s)))
		h.Write(n[:])
		h.Write([]byte(s))
	}
	field(p.Destination)
	field(string(p.Format))
	for _, path := range p.Paths {
		field("u")
		field(path)
	}
	for _, path := range p.PathsBase64 {
		field("b")
		field(string(path))
	}
	return [sha256.Size]byte(h.Sum(nil))
}
