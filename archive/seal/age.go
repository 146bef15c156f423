// Package seal is the only home of cryptography: age for what is sealed to a
// tenant or a worker, and the envelope for secrets that the catalog keeps. It
// promises that whatever a reader of it returns was authenticated first, that
// no error quotes a key, and that what was once sealed opens for ever.
package seal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"filippo.io/age"

	"xvault/internal/secret"
)

// Algorithm is the name of the sealing in manifests and in the catalog.
const Algorithm = "age-x25519"

// Errors that callers tell apart.
var (
	// ErrNotSealed: the input does not begin as an age file does.
	ErrNotSealed = errors.New("not a sealed file: it does not begin as an age file does")
	// ErrWrongIdentity: none of the identities opens it. A damaged header looks
	// the same, for the recipient's stanza is all that tells.
	ErrWrongIdentity = errors.New("no identity given opens this: it was sealed to another key, or its header is damaged")
	// ErrCorrupt: sealed to this identity, but altered or cut short.
	ErrCorrupt = errors.New("the sealed data is damaged or cut short")
	// ErrTooLarge: a message holds more than its reader is ready to take.
	ErrTooLarge = errors.New("the sealed message is larger than allowed")
)

// intro is how every age v1 file begins.
const intro = "age-encryption.org/v1\n"

// maxIdentitiesFile bounds what ParseIdentities reads: a recovery kit with its
// comments is well under a kilobyte.
const maxIdentitiesFile = 1 << 20

// NewIdentity makes a key pair: the identity opens what is sealed to the
// recipient.
func NewIdentity() (identity secret.Text, recipient string, err error) {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		return secret.Text{}, "", fmt.Errorf("make an age identity: %w", err)
	}
	return secret.New(id.String()), id.Recipient().String(), nil
}

// Recipient gives the public half of an identity.
func Recipient(identity secret.Text) (string, error) {
	id, err := parseIdentity(identity)
	if err != nil {
		return "", err
	}
	return id.Recipient().String(), nil
}

// ValidRecipient reports what is wrong with a recipient, nil if nothing is.
func ValidRecipient(recipient string) error {
	_, err := parseRecipients([]string{recipient})
	return err
}

// Message seals a small message to one recipient.
func Message(recipient string, plaintext []byte) ([]byte, error) {
	var sealed bytes.Buffer
	w, err := NewWriter(&sealed, recipient)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(plaintext); err != nil {
		return nil, fmt.Errorf("seal message: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("seal message: %w", err)
	}
	return sealed.Bytes(), nil
}

// OpenMessage opens what Message sealed. It fails with ErrTooLarge where the
// plaintext is longer than maxSize bytes.
func OpenMessage(identity secret.Text, sealed []byte, maxSize int) ([]byte, error) {
	r, err := NewReader(bytes.NewReader(sealed), identity)
	if err != nil {
		return nil, err
	}
	plaintext, err := io.ReadAll(io.LimitReader(r, int64(maxSize)+1))
	if err != nil {
		return nil, err
	}
	if len(plaintext) > maxSize {
		return nil, ErrTooLarge
	}
	return plaintext, nil
}

// NewWriter returns a writer that seals to every one of the recipients, any of
// whose identities will open it. Close writes the last chunk, without which
// the file counts as cut short; it does not close w.
func NewWriter(w io.Writer, recipients ...string) (io.WriteCloser, error) {
	parsed, err := parseRecipients(recipients)
	if err != nil {
		return nil, err
	}
	sealed, err := age.Encrypt(w, parsed...)
	if err != nil {
		return nil, fmt.Errorf("begin sealing: %w", err)
	}
	return sealed, nil
}

// NewReader opens a sealed stream. Every chunk is authenticated before any of
// it is returned, but that nothing is missing is known at io.EOF only. Errors
// are ErrNotSealed, ErrWrongIdentity, ErrCorrupt or the underlying reader's.
func NewReader(r io.Reader, identities ...secret.Text) (io.Reader, error) {
	ids, err := parseIdentities(identities)
	if err != nil {
		return nil, err
	}
	source := &sourceReader{r: r}
	head := make([]byte, len(intro))
	n, err := io.ReadFull(source, head)
	if err := checkIntro(head[:n], err); err != nil {
		return nil, err
	}
	plain, err := age.Decrypt(io.MultiReader(bytes.NewReader(head), source), ids...)
	if err != nil {
		return nil, openError(err, source.err)
	}
	return &plainReader{plain: plain, source: source}, nil
}

// NewReaderAt opens a sealed file of the given size for reading anywhere in
// it; it returns the length of the plaintext as well. The last chunk is
// authenticated at once, so that a file cut short is refused here. The result
// may be used from many goroutines.
func NewReaderAt(r io.ReaderAt, size int64, identities ...secret.Text) (io.ReaderAt, int64, error) {
	ids, err := parseIdentities(identities)
	if err != nil {
		return nil, 0, err
	}
	head := make([]byte, len(intro))
	n, err := io.ReadFull(io.NewSectionReader(r, 0, size), head)
	if err := checkIntro(head[:n], err); err != nil {
		return nil, 0, err
	}
	source := &sourceReaderAt{r: r}
	plain, plainSize, err := age.DecryptReaderAt(source, size, ids...)
	if err != nil {
		return nil, 0, openError(err, source.failure())
	}
	return &plainReaderAt{plain: plain, source: source, size: plainSize}, plainSize, nil
}

// ParseIdentities reads a key file as the age command does: one identity a
// line; empty lines and lines beginning with "#" are comments. The recovery
// kit of a tenant is such a file. Errors name a line's number, never its text.
func ParseIdentities(r io.Reader) ([]secret.Text, error) {
	content, err := io.ReadAll(io.LimitReader(r, maxIdentitiesFile+1))
	if err != nil {
		return nil, fmt.Errorf("read identities: %w", err)
	}
	if len(content) > maxIdentitiesFile {
		return nil, errors.New("read identities: the file is too large to be a key file")
	}
	var identities []secret.Text
	for i, line := range strings.Split(string(content), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		identity := secret.New(line)
		if _, err := parseIdentity(identity); err != nil {
			return nil, fmt.Errorf("read identities: line %d: %w", i+1, err)
		}
		identities = append(identities, identity)
	}
	if len(identities) == 0 {
		return nil, errors.New("read identities: the file holds no AGE-SECRET-KEY-1... line")
	}
	return identities, nil
}

func parseIdentity(identity secret.Text) (*age.X25519Identity, error) {
	id, err := age.ParseX25519Identity(identity.Reveal())
	if err != nil {
		// age's own message may quote the input: a secret.
		return nil, errors.New("not an age X25519 identity (AGE-SECRET-KEY-1...)")
	}
	return id, nil
}

func parseIdentities(identities []secret.Text) ([]age.Identity, error) {
	if len(identities) == 0 {
		return nil, errors.New("no identity given")
	}
	parsed := make([]age.Identity, len(identities))
	for i, identity := range identities {
		id, err := parseIdentity(identity)
		if err != nil {
			return nil, err
		}
		parsed[i] = id
	}
	return parsed, nil
}

func parseRecipients(recipients []string) ([]age.Recipient, error) {
	if len(recipients) == 0 {
		return nil, errors.New("no recipient given")
	}
	parsed := make([]age.Recipient, len(recipients))
	for i, recipient := range recipients {
		r, err := age.ParseX25519Recipient(recipient)
		if err != nil {
			// Not quoted: it might be an identity put in the wrong place.
			return nil, errors.New("not an age X25519 recipient (age1...)")
		}
		parsed[i] = r
	}
	return parsed, nil
}
