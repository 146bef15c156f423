package ticket_test

import (
	"crypto/ed25519"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"xvault/internal/job"
	"xvault/internal/ticket"
)

func keyPair(t testing.TB) (ed25519.PublicKey, ed25519.PrivateKey) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return public, private
}

func sample() ticket.Ticket {
	return ticket.Ticket{
		ID: uuid.New(), Kind: ticket.Download, Subject: uuid.New(), Worker: "worker-1",
		Selection: ticket.Select(job.RestorePayload{Format: job.FormatTar, Paths: []string{"/home"}}),
		Expires:   time.Unix(2_000_000_000, 0).UTC(),
	}
}

func TestSignedOpens(t *testing.T) {
	t.Parallel()
	public, private := keyPair(t)
	other, _ := keyPair(t)
	want := sample()
	text := ticket.Sign(private, want)
	if again := ticket.Sign(private, want); again != text {
		t.Error("the same facts give two texts")
	}
	got, err := ticket.Open([]ed25519.PublicKey{other, public}, text)
	if err != nil || got != want {
		t.Errorf("opened as %+v, %v", got, err)
	}
	for name, keys := range map[string][]ed25519.PublicKey{"none": nil, "another hub's": {other}, "a broken one": {public[:31]}} {
		if _, err := ticket.Open(keys, text); !errors.Is(err, ticket.ErrInvalid) {
			t.Errorf("with the keys %s: %v", name, err)
		}
	}
}

// Every character, replaced by every other one of the alphabet and by some that
// are none, left out or doubled, is refused.
func TestAnyAlteredCharacterIsRefused(t *testing.T) {
	t.Parallel()
	public, private := keyPair(t)
	keys := []ed25519.PublicKey{public}
	text := ticket.Sign(private, sample())
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/=\n\r \x00."
	refuse := func(forged string) {
		t.Helper()
		if _, err := ticket.Open(keys, forged); err == nil {
			t.Fatalf("%q was taken for %q", forged, text)
		}
	}
	for i := range text {
		refuse(text[:i] + text[i+1:])
		for j := range alphabet {
			if alphabet[j] != text[i] {
				refuse(text[:i] + alphabet[j:j+1] + text[i+1:])
			}
			refuse(text[:i] + alphabet[j:j+1] + text[i:])
		}
	}
	for _, tail := range []string{"=", "\n", "A", " ", "AAAA", text} {
		refuse(text + tail)
	}
	refuse("")
	refuse(strings.ToUpper(text))
	refuse(strings.Repeat("A", 1<<20))
}

func TestSelectionsDiffer(t *testing.T) {
	t.Parallel()
	seen := map[[32]byte]int{}
	for i, p := range []job.RestorePayload{
		{}, {Format: "tar"}, {Format: "zip"}, {Destination: "source"}, {Format: "tar", Paths: []string{"/a"}},
		{Format: "tar", Paths: []string{"/a", "/b"}}, {Format: "tar", Paths: []string{"/a/b"}}, {Format: "tar", PathsBase64: [][]byte{[]byte("/a")}},
		{Format: "tar", Paths: []string{"/au", "/b"}}, {Format: "tar", Paths: []string{"/a", "u/b"}},
	} {
		sum := ticket.Select(p)
		if j, twice := seen[sum]; twice {
			t.Errorf("%d and %d have one hash", i, j)
		}
		seen[sum] = i
	}
}

func FuzzOpen(f *testing.F) {
	public, private := keyPair(f)
	f.Add(ticket.Sign(private, sample()))
	f.Add("")
	f.Add("AAAA")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := ticket.Open([]ed25519.PublicKey{public}, text)
		if err == nil && ticket.Sign(private, got) != text {
			t.Errorf("%q opens and is not what is signed", text)
		}
	})
}
