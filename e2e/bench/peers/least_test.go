package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The least takes part in turns as everybody does, and reads what there is.
func TestTheLeast(t *testing.T) {
	t.Parallel()
	l, err := newLab(t.Context(), options{cache: t.TempDir(), quick: true, runs: 1}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := l.close(); err != nil {
			t.Error(err)
		}
	}()
	tree := t.TempDir()
	for name, size := range map[string]int{"empty": 0, "small": 1, "whole": readLength, "large": 2*readLength + 1} {
		if err := os.WriteFile(filepath.Join(tree, name), make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := l.turns(t.Context(), 1, l.least(tree))
	if err != nil || len(got["the least"]) != 1 {
		t.Errorf("%v %v", got, err)
	}

	files, err := filesBelow(tree)
	if err != nil || len(files) != 4 {
		t.Fatalf("%v %v", files, err)
	}
	do, end, err := readyToRead(t.Context(), l.order("sftp", tree, near, ""), files)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := end(); err != nil {
			t.Error(err)
		}
	}()
	if err := os.Truncate(filepath.Join(tree, "large"), readLength+1); err != nil {
		t.Fatal(err)
	}
	if err := do(); err == nil || !strings.Contains(err.Error(), "large") {
		t.Errorf("of a file that is shorter than it was: %v", err)
	}
}

// Whoever gets less done has not measured it.
func TestHalfTheLeastSaysWhatFails(t *testing.T) {
	t.Parallel()
	if err := half(t.Context(), strings.NewReader("{}"), io.Discard, readyToPack); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}
