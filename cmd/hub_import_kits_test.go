package cmd

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"

	"xvault/archive/seal"
	"xvault/internal/apiclient"
)

// TestReadKits takes what export-key writes, as text and as JSON, and bare keys.
func TestReadKits(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	identity, recipient, err := seal.NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	tenant := uuid.NewString()
	var kit bytes.Buffer
	if err := writeKit(&kit, apiclient.Tenant{ID: tenant, Name: "Acme: the \"first\""}, apiclient.RecoveryKey{Identity: identity, PublicKey: recipient}); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"a-kit.txt": kit.String(), "b.json": `{"tenant_id":"` + tenant + `","public_key":"` + recipient + `","identity":"` + identity.Reveal() + `"}`,
		"c.key": identity.Reveal() + "\n", "readme.md": "no key", "empty": "",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	kits, err := readKits([]string{dir})
	if err != nil || len(kits) != 3 {
		t.Fatalf("%d kits, %v", len(kits), err)
	}
	for i, k := range kits {
		known := uuid.MustParse(tenant)
		if i == 2 {
			known = uuid.Nil
		}
		if k.Key.Reveal() != identity.Reveal() || k.TenantID != known {
			t.Errorf("%s: of tenant %s", k.File, k.TenantID)
		}
	}
	if kits[0].TenantName != `Acme: the "first"` {
		t.Errorf("name: %q", kits[0].TenantName)
	}
	for _, bad := range []string{"readme.md", "empty", "nothing"} {
		if _, err := readKits([]string{filepath.Join(dir, bad)}); err == nil || exitCode(err) != exitUsage {
			t.Errorf("%s: %v", bad, err)
		}
	}
	broken := filepath.Join(t.TempDir(), "broken")
	if err := os.WriteFile(broken, []byte("AGE-SECRET-KEY-1HUNTER2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readKits([]string{broken}); err == nil || strings.Contains(err.Error(), "HUNTER2") {
		t.Errorf("a damaged key: %v", err)
	}
}
