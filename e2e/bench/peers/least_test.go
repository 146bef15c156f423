package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
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
	sizes := map[string]int{"empty": 0, "small": 1, "whole": readLength, "large": 2*readLength + 1}
	for i := range 3 * filesAtOnce {
		sizes[fmt.Sprint("many-", i)] = 1 + i
	}
	for name, size := range sizes {
		if err := os.WriteFile(filepath.Join(tree, name), make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := l.turns(t.Context(), 1, l.least(tree))
	if err != nil || len(got["the least"]) != 1 {
		t.Fatalf("%v %v", got, err)
	}
	if u := got["the least"][0]; u.Size <= 0 || u.Wall != u.Machine/time.Duration(runtime.NumCPU()) {
		t.Errorf("%+v", u)
	}

	files, err := filesBelow(tree)
	if err != nil || len(files) != len(sizes) {
		t.Fatalf("%d files, %v", len(files), err)
	}
	work, err := readyToRead(t.Context(), l.order("sftp", tree, near, ""), files)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := work.end(); err != nil {
			t.Error(err)
		}
	}()
	if err := os.Truncate(filepath.Join(tree, "large"), readLength+1); err != nil {
		t.Fatal(err)
	}
	if _, _, err := work.do(); err == nil || !strings.Contains(err.Error(), "large") {
		t.Errorf("of a file that is shorter than it was: %v", err)
	}
}

func TestHalfSaysWhatFails(t *testing.T) {
	t.Parallel()
	if err := half(t.Context(), strings.NewReader("{}"), io.Discard, readyToPack); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// Whoever packs less than there is has not measured it.
func TestPackerHoldsAll(t *testing.T) {
	t.Parallel()
	var p packer
	whole := bytes.Repeat([]byte("0123456789"), 1<<20)
	for _, part := range [][]byte{whole[:5], whole[5:5], whole[5 : 5<<20], whole[5<<20:]} {
		if err := p.fill(bytes.NewReader(part)); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(bytes.Join(p.frames, nil), whole) {
		t.Error("other content")
	}
}
