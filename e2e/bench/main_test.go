package bench

import (
	"fmt"
	"os"
	"testing"

	"xvault/e2e/system"
	"xvault/internal/testenv"
)

func TestMain(m *testing.M) {
	code := testenv.Wrap(m).Run()
	if err := system.RemoveBinaries(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	os.Exit(code)
}
