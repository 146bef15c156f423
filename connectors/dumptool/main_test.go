package dumptool_test

import (
	"testing"

	"xvault/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }
