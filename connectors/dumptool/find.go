package dumptool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Program is an installed program.
type Program struct {
	// Path is where it is, links resolved.
	Path string
	// Banner is the first line of what it prints about its version.
	Banner string
}

// askTimeout bounds how long a program may take to tell its version.
const askTimeout = 15 * time.Second

// maxBanner bounds what is read of it.
const maxBanner = 400

// Find looks for a program in folders, which may be patterns of filepath.Glob, in
// their order, and asks each that it finds for its version. A file that does not
// answer to that is left out, so that a wrapper without its program behind it counts
// as missing. Each file is asked once, by however many names it is found.
func Find(ctx context.Context, name string, folders ...string) ([]Program, error) {
	var found []Program
	asked := map[string]bool{}
	for _, folder := range folders {
		paths, err := filepath.Glob(filepath.Join(folder, name))
		if err != nil {
			return nil, fmt.Errorf("look for %s: %w", name, err)
		}
		for _, path := range paths {
			target, err := filepath.EvalSymlinks(path)
			if err != nil || !executable(target) || asked[target] {
				continue
			}
			asked[target] = true
			banner, err := ask(ctx, target)
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			if err == nil {
				found = append(found, Program{Path: target, Banner: banner})
			}
		}
	}
	return found, nil
}

// SystemFolders are where programs are looked for by name alone. The worker's own
// PATH is not asked: what is run must not depend on who started it.
func SystemFolders() []string { return []string{"/usr/local/bin", "/usr/bin", "/bin"} }

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode().Perm()&fs.FileMode(0o111) != 0
}

// ask runs a program with --version.
func ask(ctx context.Context, path string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	d, err := Start(ctx, Command{Path: path, Args: []string{"--version"}, What: "asking for the version"})
	if err != nil {
		return "", err
	}
	said, err := io.ReadAll(io.LimitReader(d, maxBanner))
	if err = errors.Join(err, d.Close()); err != nil {
		return "", err
	}
	line, _, _ := strings.Cut(string(said), "\n")
	if line == "" {
		return "", errors.New("it does not tell its version")
	}
	return line, nil
}
