package cmd

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"

	"xvault/internal/apiclient"
	"xvault/internal/secret"
)

// The kit is used when nothing else is left, so the judge is age's own program.
func TestAgeOpensWithTheRecoveryKit(t *testing.T) {
	t.Parallel()
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "kit.txt")
	s := &session{out: &printer{w: os.Stderr}}
	w, err := createPrivate(s, path)
	if err != nil {
		t.Fatal(err)
	}
	// A name must not be able to end its comment line.
	tenant := apiclient.Tenant{ID: "0190", Name: "evil\nAGE-SECRET-KEY-1EVIL"}
	if err := writeKit(w, tenant, apiclient.RecoveryKey{Identity: secret.New(identity.String()), PublicKey: identity.Recipient().String()}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, error %v", info.Mode(), err)
	}
	if _, err := createPrivate(s, path); err == nil {
		t.Error("an existing file is replaced")
	}

	var sealed bytes.Buffer
	to, err := age.Encrypt(&sealed, identity.Recipient())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := to.Write([]byte("the plaintext")); err != nil {
		t.Fatal(err)
	}
	if err := to.Close(); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "age", "-d", "-i", path)
	cmd.Stdin = &sealed
	out, err := cmd.CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != "the plaintext" {
		t.Errorf("age: %v: %s", err, out)
	}
}

type encryptedKey struct{ keyFile, passphraseFile string }

func newEncryptedKey(t *testing.T) encryptedKey {
	t.Helper()
	dir := t.TempDir()
	k := encryptedKey{filepath.Join(dir, "key"), filepath.Join(dir, "passphrase")}
	out, err := exec.CommandContext(t.Context(), "ssh-keygen", "-q", "-t", "ed25519", "-N", "open sesame", "-f", k.keyFile).CombinedOutput()
	if err != nil {
		t.Fatalf("ssh-keygen: %v\n%s", err, out)
	}
	if err := os.WriteFile(k.passphraseFile, []byte("open sesame\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return k
}
