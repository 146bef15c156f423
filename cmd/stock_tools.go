package cmd

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
)

// stockTools is the restore that everybody can type. The names are handed over
// as arguments, and a tool that fails in the middle fails the whole.
const stockTools = `set -euo pipefail; age -d -i "$1" "$2" | zstd -d -c -q | tar -x -p -C "$3"`

// restoreWithStockTools takes an artifact apart with nothing of xVault.
func restoreWithStockTools(ctx context.Context, identityFile, artifact, into string) error {
	for _, tool := range []string{"age", "zstd", "tar"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("%w: `make deps` installs it", err)
		}
	}
	out, err := exec.CommandContext(ctx, "bash", "-c", stockTools, "stock-tools", identityFile, artifact, into).CombinedOutput()
	if err != nil {
		return fmt.Errorf("open the artifact with age, zstd and tar: %w: %s", err, bytes.TrimSpace(out))
	}
	return nil
}
