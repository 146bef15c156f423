package seal

import (
	"bytes"
	"compress/zlib"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"strings"
	"testing"

	agetest "c2sp.org/CCTV/age"

	"xvault/internal/secret"
)

// vector is one of C2SP's test vectors for the age format.
type vector struct {
	expect     string
	payload    string // hex SHA-256
	identities []secret.Text
	foreign    bool // needs what is not in use here: passphrases, armor, other keys
	file       []byte
}

// TestVectors: every reader accepts and refuses what the format says.
func TestVectors(t *testing.T) {
	t.Parallel()
	files, err := fs.ReadDir(agetest.Vectors, ".")
	if err != nil {
		t.Fatal(err)
	}
	used := 0
	for _, file := range files {
		raw, err := fs.ReadFile(agetest.Vectors, file.Name())
		if err != nil {
			t.Fatal(err)
		}
		v := parseVector(t, raw)
		if v.foreign || len(v.identities) == 0 {
			continue
		}
		used++
		t.Run(file.Name(), func(t *testing.T) {
			t.Parallel()
			v.try(t, "stream", v.stream)
			v.try(t, "random access", v.randomAccess)
		})
	}
	if used < 60 {
		t.Errorf("only %d vectors were of use", used)
	}
}

func parseVector(t *testing.T, raw []byte) vector {
	t.Helper()
	var v vector
	compressed := false
	for {
		line, rest, ok := bytes.Cut(raw, []byte("\n"))
		if !ok {
			t.Fatal("a vector without a file")
		}
		raw = rest
		if len(line) == 0 {
			break
		}
		key, value, _ := strings.Cut(string(line), ": ")
		switch key {
		case "expect":
			v.expect = value
		case "payload":
			v.payload = value
		case "identity":
			v.identities = append(v.identities, secret.New(value))
			v.foreign = v.foreign || !strings.HasPrefix(value, "AGE-SECRET-KEY-1")
		case "passphrase", "armored":
			v.foreign = true
		case "compressed":
			compressed = true
		}
	}
	v.file = raw
	if compressed {
		v.file = inflate(t, raw)
	}
	return v
}

func inflate(t *testing.T, b []byte) []byte {
	t.Helper()
	r, err := zlib.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		t.Fatal(err)
	}
	return out
}

func (v vector) try(t *testing.T, how string, read func() ([]byte, error)) {
	t.Helper()
	plain, err := read()
	if v.expect == "success" {
		if sum := sha256.Sum256(plain); err != nil || hex.EncodeToString(sum[:]) != v.payload {
			t.Errorf("%s: %d bytes, %v; the vector is a success", how, len(plain), err)
		}
		return
	}
	known := errors.Is(err, ErrNotSealed) || errors.Is(err, ErrCorrupt) || errors.Is(err, ErrWrongIdentity)
	if !known || (v.expect == "no match") != errors.Is(err, ErrWrongIdentity) {
		t.Errorf("%s: %v; the vector is a %s", how, err, v.expect)
	}
}

func (v vector) stream() ([]byte, error) {
	r, err := NewReader(bytes.NewReader(v.file), v.identities...)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

func (v vector) randomAccess() ([]byte, error) {
	r, size, err := NewReaderAt(bytes.NewReader(v.file), int64(len(v.file)), v.identities...)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.NewSectionReader(r, 0, size))
}
