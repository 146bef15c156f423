//go:build long && !race

package archive

import "testing"

func TestMemoryOfAHugeFile(t *testing.T) { wantPeak(t, "bytes 4294967296") }
