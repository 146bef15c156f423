package devenv

import (
	"fmt"
	"os"
	"path/filepath"
)

// unpacked finds what a script of packaging unpacked into the user's cache.
func unpacked(name string) (string, error) {
	cache := os.Getenv("XVAULT_CACHE_DIR")
	if cache == "" {
		dir, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("find %s: %w", name, err)
		}
		cache = filepath.Join(dir, "xvault")
	}
	bundle := filepath.Join(cache, name)
	if _, err := os.Stat(filepath.Join(bundle, "complete")); err != nil {
		return "", &MissingError{Program: name + " (looked for in " + bundle + ")"}
	}
	return bundle, nil
}
