package seal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"xvault/internal/secret"
)

func newIdentity(t *testing.T) (secret.Text, string) {
	t.Helper()
	identity, recipient, err := NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	return identity, recipient
}

func TestMessageRoundTrip(t *testing.T) {
	t.Parallel()
	identity, recipient := newIdentity(t)
	for _, plaintext := range []string{"", "x", strings.Repeat("secret", 100_000)} {
		sealed, err := Message(recipient, []byte(plaintext))
		if err != nil {
			t.Fatal(err)
		}
		if len(plaintext) > 1 && bytes.Contains(sealed, []byte(plaintext)) {
			t.Fatal("the sealed message shows its plaintext")
		}
		opened, err := OpenMessage(identity, sealed, 1<<20)
		if err != nil || string(opened) != plaintext {
			t.Fatalf("OpenMessage = %d bytes, %v; want %d bytes", len(opened), err, len(plaintext))
		}
	}
}

func TestMessageLimits(t *testing.T) {
	t.Parallel()
	identity, recipient := newIdentity(t)
	sealed, err := Message(recipient, make([]byte, 100))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OpenMessage(identity, sealed, 100); err != nil {
		t.Errorf("a message of exactly the limit: %v", err)
	}
	if _, err := OpenMessage(identity, sealed, 99); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a message over the limit: %v, want ErrTooLarge", err)
	}
}

func TestRecipientOfIdentity(t *testing.T) {
	t.Parallel()
	identity, recipient := newIdentity(t)
	got, err := Recipient(identity)
	if err != nil || got != recipient {
		t.Fatalf("Recipient = %q, %v; want %q", got, err, recipient)
	}
	if err := ValidRecipient(recipient); err != nil {
		t.Fatal(err)
	}
}

func TestMalformedKeysAreNotQuoted(t *testing.T) {
	t.Parallel()
	identity, recipient := newIdentity(t)
	_, errRecipient := Recipient(secret.New(identity.Reveal() + "X"))
	_, errOpen := NewReader(strings.NewReader(intro), secret.New(identity.Reveal()[:40]))
	_, errParse := ParseIdentities(strings.NewReader(identity.Reveal() + "X"))
	errs := map[string]error{
		"empty recipient":      ValidRecipient(""),
		"identity for another": ValidRecipient(identity.Reveal()),
		"cut recipient":        ValidRecipient(recipient[:len(recipient)-1]),
		"ssh recipient":        ValidRecipient("ssh-ed25519 AAAA"),
		"identity, Recipient":  errRecipient,
		"identity, NewReader":  errOpen,
		"identity, Parse":      errParse,
	}
	for name, err := range errs {
		if err == nil {
			t.Errorf("%s: accepted", name)
		} else if strings.Contains(err.Error(), identity.Reveal()[20:40]) {
			t.Errorf("%s: the error quotes the key", name)
		}
	}
	if _, err := NewWriter(io.Discard); err == nil {
		t.Error("sealing to nobody was accepted")
	}
}

func TestSeveralRecipients(t *testing.T) {
	t.Parallel()
	a, recipientA := newIdentity(t)
	b, recipientB := newIdentity(t)
	stranger, _ := newIdentity(t)
	var sealed bytes.Buffer
	w, err := NewWriter(&sealed, recipientA, recipientB)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, "for both"); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for _, ids := range [][]secret.Text{{a}, {b}, {stranger, b}} {
		r, err := NewReader(bytes.NewReader(sealed.Bytes()), ids...)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); err != nil || string(got) != "for both" {
			t.Fatalf("read %q, %v", got, err)
		}
	}
	if _, err := OpenMessage(stranger, sealed.Bytes(), 100); !errors.Is(err, ErrWrongIdentity) {
		t.Errorf("a stranger's identity: %v, want ErrWrongIdentity", err)
	}
}

func TestReaderAt(t *testing.T) {
	t.Parallel()
	identity, recipient := newIdentity(t)
	plaintext := bytes.Repeat([]byte("0123456789abcdef"), 3*64*1024/16)
	sealed, err := Message(recipient, plaintext)
	if err != nil {
		t.Fatal(err)
	}
	r, size, err := NewReaderAt(bytes.NewReader(sealed), int64(len(sealed)), identity)
	if err != nil || size != int64(len(plaintext)) {
		t.Fatalf("NewReaderAt: %d bytes, %v; want %d", size, err, len(plaintext))
	}
	got, err := io.ReadAll(io.NewSectionReader(r, 65_000, 70_000))
	if err != nil || !bytes.Equal(got, plaintext[65_000:135_000]) {
		t.Fatalf("a range over a chunk's border: %v", err)
	}
	if n, err := r.ReadAt(make([]byte, 10), size-4); n != 4 || err != io.EOF {
		t.Errorf("read over the end: %d, %v; want 4, EOF", n, err)
	}
	if n, err := r.ReadAt(make([]byte, 10), size+1); n != 0 || err != io.EOF {
		t.Errorf("read past the end: %d, %v; want 0, EOF", n, err)
	}
	if n, err := r.ReadAt(make([]byte, 4), size-4); n != 4 || err != nil {
		t.Errorf("read up to the end: %d, %v; want 4, nil", n, err)
	}
}

// TestDamage flips or cuts bytes everywhere that matters; nothing may come out.
func TestDamage(t *testing.T) {
	t.Parallel()
	identity, recipient := newIdentity(t)
	plaintext := bytes.Repeat([]byte("x"), 200_000)
	sealed, err := Message(recipient, plaintext)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []int{0, len(intro), len(intro) + 10, 150, 250, 70_000, 140_000, len(sealed) - 1} {
		flipped := bytes.Clone(sealed)
		flipped[at] ^= 1
		checkDamaged(t, fmt.Sprintf("flip at %d", at), flipped, identity)
	}
	for _, keep := range []int{0, 5, len(intro), 150, 70_000, 65_536 + 16 + 200, len(sealed) - 1} {
		checkDamaged(t, fmt.Sprintf("cut to %d", keep), sealed[:keep], identity)
	}
	checkDamaged(t, "one byte more", append(bytes.Clone(sealed), 0), identity)
}

func checkDamaged(t *testing.T, what string, sealed []byte, identity secret.Text) {
	t.Helper()
	for name, err := range map[string]error{
		"stream": readStream(sealed, identity), "random access": readAt(sealed, identity),
	} {
		if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrNotSealed) && !errors.Is(err, ErrWrongIdentity) {
			t.Errorf("%s, %s: %v", what, name, err)
		}
	}
}

func readStream(sealed []byte, identity secret.Text) error {
	_, err := OpenMessage(identity, sealed, 1<<30)
	return err
}

func readAt(sealed []byte, identity secret.Text) error {
	r, size, err := NewReaderAt(bytes.NewReader(sealed), int64(len(sealed)), identity)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, io.NewSectionReader(r, 0, size))
	return err
}

var errDisk = errors.New("input/output error")

type failingSource struct {
	content []byte
	failAt  int64
}

func (f failingSource) ReadAt(p []byte, off int64) (int, error) {
	if off <= f.failAt && f.failAt < off+int64(len(p)) {
		return 0, errDisk
	}
	return bytes.NewReader(f.content).ReadAt(p, off)
}

// A failing disk is not a damaged artifact: the difference decides whether a
// snapshot is called corrupt.
func TestSourceErrorIsNotCorruption(t *testing.T) {
	t.Parallel()
	identity, recipient := newIdentity(t)
	sealed, err := Message(recipient, make([]byte, 200_000))
	if err != nil {
		t.Fatal(err)
	}
	for _, failAt := range []int64{0, 100, 100_000, int64(len(sealed)) - 5} {
		source := failingSource{sealed, failAt}
		r, size, err := NewReaderAt(source, int64(len(sealed)), identity)
		if err == nil {
			_, err = io.Copy(io.Discard, io.NewSectionReader(r, 0, size))
		}
		if !errors.Is(err, errDisk) || errors.Is(err, ErrCorrupt) {
			t.Errorf("random access, failing at %d: %v", failAt, err)
		}
		stream, err := NewReader(io.NewSectionReader(source, 0, int64(len(sealed))), identity)
		if err == nil {
			_, err = io.Copy(io.Discard, stream)
		}
		if !errors.Is(err, errDisk) || errors.Is(err, ErrCorrupt) {
			t.Errorf("stream, failing at %d: %v", failAt, err)
		}
	}
}

func TestParseIdentities(t *testing.T) {
	t.Parallel()
	identity, _ := newIdentity(t)
	kit := "# xVault recovery kit\r\n# tenant: x\n\n" + identity.Reveal() + "\r\n# end\n"
	ids, err := ParseIdentities(strings.NewReader(kit))
	if err != nil || len(ids) != 1 || !ids[0].Equal(identity) {
		t.Fatalf("ParseIdentities: %d identities, %v", len(ids), err)
	}
	for name, content := range map[string]string{
		"empty": "", "comments only": "# nothing\n", "garbage": "hello\n",
		"a recipient": "age1qqqq\n", "too large": strings.Repeat("#\n", 1<<20),
	} {
		if _, err := ParseIdentities(strings.NewReader(content)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// TestStockAge has the age command open what is sealed here.
func TestStockAge(t *testing.T) {
	t.Parallel()
	identity, recipient := newIdentity(t)
	plaintext := bytes.Repeat([]byte("stock"), 50_000)
	sealed, err := Message(recipient, plaintext)
	if err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(t.TempDir(), "key.txt")
	if err := os.WriteFile(key, []byte("# kit\n"+identity.Reveal()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("age", "-d", "-i", key)
	cmd.Stdin = bytes.NewReader(sealed)
	opened, err := cmd.Output()
	if err != nil || !bytes.Equal(opened, plaintext) {
		t.Fatalf("age -d: %d bytes, %v", len(opened), err)
	}
}

func BenchmarkWriter(b *testing.B) {
	_, recipient, err := NewIdentity()
	if err != nil {
		b.Fatal(err)
	}
	block := make([]byte, 1<<20)
	w, err := NewWriter(io.Discard, recipient)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(block)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := w.Write(block); err != nil {
			b.Fatal(err)
		}
	}
}
