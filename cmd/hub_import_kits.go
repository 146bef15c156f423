package cmd

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/uuid"

	"xvault/archive/seal"
	"xvault/hub/rebuild"
	"xvault/internal/secret"
)

const (
	// maxKit bounds what is read of a recovery kit.
	maxKit = 64 << 10
	// maxKits bounds how many files of a folder are read.
	maxKits = 100_000
)

// readKits reads recovery kits from files and folders. In a folder whatever holds
// no key is passed over; a file that was named must hold one.
func readKits(paths []string) ([]rebuild.Identity, error) {
	var all []rebuild.Identity
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			return nil, usagef("--identity: %w", err)
		}
		var kits []rebuild.Identity
		if info.IsDir() {
			kits, err = readKitFolder(path)
		} else {
			kits, err = readKit(path)
		}
		if err != nil {
			return nil, usagef("--identity %s: %w", path, err)
		}
		all = append(all, kits...)
	}
	return all, nil
}

func readKitFolder(dir string) ([]rebuild.Identity, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	if len(entries) > maxKits {
		return nil, fmt.Errorf("it holds more than %d files", maxKits)
	}
	var all []rebuild.Identity
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
			continue
		}
		kits, err := readKit(path)
		if errors.Is(err, errNoKit) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", e.Name(), err)
		}
		all = append(all, kits...)
	}
	if len(all) == 0 {
		return nil, errors.New("no file in it is a recovery kit")
	}
	return all, nil
}

var errNoKit = errors.New("it is neither a recovery kit nor another age key file")

// readKit reads what `xvault tenant export-key` wrote, as text or as JSON, or any
// age key file. Its errors never quote the content: a secret.
func readKit(path string) (_ []rebuild.Identity, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	content, err := io.ReadAll(io.LimitReader(f, maxKit+1))
	if err != nil {
		return nil, err
	}
	if len(content) > maxKit || !bytes.Contains(content, []byte("AGE-SECRET-KEY-1")) {
		return nil, errNoKit
	}
	if bytes.HasPrefix(bytes.TrimSpace(content), []byte("{")) {
		return jsonKit(path, content)
	}
	return textKit(path, content)
}

func jsonKit(path string, content []byte) ([]rebuild.Identity, error) {
	var kit struct {
		TenantID uuid.UUID `json:"tenant_id"`
		Identity string    `json:"identity"`
	}
	if err := json.Unmarshal(content, &kit); err != nil {
		return nil, errNoKit
	}
	return []rebuild.Identity{{Key: secret.New(strings.TrimSpace(kit.Identity)), TenantID: kit.TenantID, File: path}}, nil
}

// textKit takes the tenant from the comments above each key.
func textKit(path string, content []byte) ([]rebuild.Identity, error) {
	keys, err := seal.ParseIdentities(bytes.NewReader(content))
	if err != nil {
		return nil, err
	}
	about := rebuild.Identity{File: path}
	var kits []rebuild.Identity
	for line := range strings.Lines(string(content)) {
		line = strings.TrimSpace(line)
		comment, is := strings.CutPrefix(line, "#")
		switch name, value, _ := strings.Cut(comment, ":"); {
		case is && strings.TrimSpace(name) == "tenant":
			about.TenantName = strings.TrimSpace(value)
		case is && strings.TrimSpace(name) == "tenant id":
			if about.TenantID, err = uuid.Parse(strings.TrimSpace(value)); err != nil {
				return nil, errors.New("its tenant id is no id")
			}
		case !is && line != "":
			about.Key = keys[len(kits)] // one for each such line, in order
			kits = append(kits, about)
			about = rebuild.Identity{File: path}
		}
	}
	return kits, nil
}
