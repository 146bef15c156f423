//go:build !linux

package dumptool

import "os"

// Secret is not to be had elsewhere.
func Secret([]byte) (*os.File, error) { return nil, errNotLinux }
