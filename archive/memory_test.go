//go:build !race

package archive

import "testing"

// The race detector takes several times the memory, so that these tests say
// nothing with it and are left out. A really large file is in memory_long_test.go.

func TestMemoryOfAMillionFiles(t *testing.T) { wantPeak(t, "files 1000000") }

func TestMemoryOfALargeFile(t *testing.T) { wantPeak(t, "bytes 500000000") }
