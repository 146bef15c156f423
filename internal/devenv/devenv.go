// Package devenv starts the real programs that xVault needs around it, each
// private to this process: Postgres, Redis, MariaDB, an SSH server. Tests use it through
// internal/testenv, and `xvault dev` uses it directly.
//
// What it promises: a program listens on the loopback interface only, on a port
// that was free; it dies with this process, even when that is killed; its files
// live in one scratch folder, which Close removes and which a later run removes
// when this process could not.
package devenv

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strconv"
)

// MissingError says that a program is not installed.
type MissingError struct{ Program string }

func (e *MissingError) Error() string {
	return fmt.Sprintf("%s is not installed: run `make deps`, which installs what xVault's tests and demo need", e.Program)
}

// find locates a program on the PATH or in one of the folders.
func find(program string, folders ...string) (string, error) {
	if path, err := exec.LookPath(program); err == nil {
		return path, nil
	}
	for _, folder := range folders {
		path := filepath.Join(folder, program)
		if info, err := os.Stat(path); err == nil && !info.IsDir() && info.Mode()&0o111 != 0 {
			return path, nil
		}
	}
	return "", &MissingError{Program: program}
}

// postgresFolders lists where distributions keep Postgres's own programs, the
// newest version first.
func postgresFolders() []string {
	var folders []string
	for _, pattern := range []string{"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql@*/bin"} {
		found, err := filepath.Glob(pattern)
		if err == nil {
			folders = append(folders, found...)
		}
	}
	sort.Slice(folders, func(i, j int) bool { return versionIn(folders[i]) > versionIn(folders[j]) })
	return folders
}

// versionIn reads the first number of a path: 15 of /usr/lib/postgresql/15/bin.
func versionIn(path string) int {
	for i := 0; i < len(path); i++ {
		if path[i] < '0' || path[i] > '9' {
			continue
		}
		j := i
		for j < len(path) && path[j] >= '0' && path[j] <= '9' {
			j++
		}
		n, err := strconv.Atoi(path[i:j])
		if err != nil {
			return 0
		}
		return n
	}
	return 0
}
