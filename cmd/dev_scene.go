package cmd

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"xvault/internal/apiclient"
	"xvault/internal/job"
	"xvault/internal/secret"
)

// demoName is what tenant, credential and source of the scene are called.
const demoName = "demo"

// scene is a tenant with something to back up.
type scene struct {
	tree     string // the folder
	odd      string // a small one of what backups trip over
	files    int64  // in both
	tenantID string
	sourceID string
}

// prepare makes the scene, or brings up to date the one of last time: the SSH
// server has a new port and new keys.
func (d *devStack) prepare(ctx context.Context, tree string) (scene, error) {
	var sc scene
	var err error
	if sc.tree, sc.files, err = findTree(ctx, tree); err != nil {
		return sc, err
	}
	sc.odd = d.path("oddities")
	if err := plantOddities(sc.odd); err != nil {
		return sc, err
	}
	odd, err := countFiles(sc.odd)
	if err != nil {
		return sc, err
	}
	sc.files += odd
	if sc.tenantID, err = ensure(ctx, d.client.Tenants(), func(t apiclient.Tenant) (string, string) { return t.ID, t.Name },
		newTenant{Name: demoName}); err != nil {
		return sc, err
	}
	encoded, err := job.Credential{Type: "private_key", PrivateKey: secret.New(d.sshd.ClientKeyPEM)}.Encode()
	if err != nil {
		return sc, err
	}
	credentialID, err := ensure(ctx, d.client.Credentials(), func(c apiclient.Credential) (string, string) { return c.ID, c.Name },
		apiclient.NewCredential{TenantID: sc.tenantID, Name: demoName, Kind: "source", Secret: encoded})
	if err != nil {
		return sc, err
	}
	if err := d.client.SetSecret(ctx, credentialID, encoded); err != nil {
		return sc, err
	}
	config := map[string]any{
		"host": d.sshd.Host(), "port": d.sshd.Port(), "username": d.sshd.User, "paths": []string{sc.tree, sc.odd},
		"host_keys": []string{d.sshd.HostKey()},
	}
	sc.sourceID, err = ensure(ctx, d.client.Sources(), func(s apiclient.Source) (string, string) { return s.ID, s.Name },
		sourceBody{TenantID: sc.tenantID, Type: "sftp", Name: demoName, CredentialID: credentialID, Config: config})
	if err != nil {
		return sc, err
	}
	_, err = d.client.Sources().Patch(ctx, sc.sourceID, sourceBody{Config: config})
	return sc, err
}

// ensure finds the object called demoName, or makes it.
func ensure[T any](ctx context.Context, r apiclient.Resource[T], of func(T) (id, name string), body any) (string, error) {
	for item, err := range r.All(ctx, nil) {
		if err != nil {
			return "", err
		}
		if id, name := of(item.Value); name == demoName {
			return id, nil
		}
	}
	item, err := r.Create(ctx, body)
	if err != nil {
		return "", err
	}
	id, _ := of(item.Value)
	return id, nil
}

// enoughFiles is what makes a tree worth showing.
const enoughFiles = 10_000

// findTree settles what to back up: the folder asked for, or the first of some
// with many files that every developer's machine has.
func findTree(ctx context.Context, wanted string) (string, int64, error) {
	if wanted != "" {
		tree, err := filepath.Abs(wanted)
		if err != nil {
			return "", 0, fmt.Errorf("find the folder to back up: %w", err)
		}
		n, err := countFiles(tree)
		return tree, n, err
	}
	for _, tree := range []string{goRoot(ctx), "/usr/share", "/usr"} {
		if n, err := countFiles(tree); tree != "" && err == nil && n >= enoughFiles {
			return tree, n, nil
		}
	}
	return "", 0, fmt.Errorf("no folder with %d files found: name one with --tree", enoughFiles)
}

func goRoot(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return ""
	}
	root, err := filepath.EvalSymlinks(strings.TrimSpace(string(out)))
	if err != nil {
		return ""
	}
	return root
}

func countFiles(tree string) (int64, error) {
	var n int64
	err := filepath.WalkDir(tree, func(_ string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.Type().IsRegular() {
			n++
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("count files: %w", err)
	}
	return n, nil
}

// introduce tells a person what runs and what to do with it.
func (d *devStack) introduce(out *printer, sc scene) error {
	out.printf(`
  hub         %s       (API: %s/docs)
  worker      %s, storage %s
  SSH server  %s, user %s
  source      %q: %s and %s, %s files
  logs        %s

In another terminal:

  export XVAULT_SERVER=%s XVAULT_KEY_FILE=%s
  xvault job run demo --wait
  xvault snapshot ls
  xvault tenant export-key demo --file kit.txt

Ctrl-C ends everything.
`, d.url, d.url, d.workerID, d.path("backups"), d.sshd.Addr(), d.sshd.User, demoName, printable(sc.tree), printable(sc.odd), count(sc.files), d.path(devLog),
		d.url, d.path("operator.key"))
	return out.err
}
