package e2e

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"xvault/e2e/system"
	"xvault/internal/testenv"
)

// parallel is how many tests run at once: they wait for other processes most
// of the time, so more than there are cores.
const parallel = "4"

func TestMain(m *testing.M) {
	flag.Parse()
	if !flagGiven("test.parallel") {
		if err := flag.Set("test.parallel", parallel); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
	}
	code := testenv.Wrap(m).Run()
	if err := system.RemoveBinaries(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	os.Exit(code)
}

func flagGiven(name string) bool {
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == name })
	return given
}
