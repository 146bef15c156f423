package system

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// Canaries are values that must be found nowhere; they map a value, in each
// notation that it may stand in, to what it is.
type Canaries map[string]string

// Add adds a value in all notations.
func (c Canaries) Add(what, value string) {
	if len(value) < 8 {
		panic("too short to be searched for: " + what)
	}
	for form, name := range written(value) {
		c[form] = what + name
	}
}

// Search tells which canaries stand in b.
func (c Canaries) Search(b []byte) []string {
	var found []string
	for value, what := range c {
		if i := bytes.Index(b, []byte(value)); i >= 0 {
			found = append(found, fmt.Sprintf("%s at offset %d", what, i))
		}
	}
	slices.Sort(found)
	return found
}

// SearchFiles searches all files and names below dir but those below or
// matching except. Where there is no file at all it fails.
func (c Canaries) SearchFiles(t testing.TB, dir string, except ...string) []string {
	t.Helper()
	var found []string
	files := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		for _, pattern := range except {
			if ok, err := filepath.Match(pattern, path); ok || err != nil {
				if d.IsDir() && err == nil {
					return fs.SkipDir
				}
				return err
			}
		}
		for _, f := range c.Search([]byte(d.Name())) {
			found = append(found, path+": in the name: "+f)
		}
		if !d.Type().IsRegular() {
			return nil
		}
		files++
		b, err := os.ReadFile(path)
		for _, f := range c.Search(b) {
			found = append(found, path+": "+f)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if files == 0 {
		t.Fatalf("there is no file in %s: nothing was searched", dir)
	}
	return found
}

// DumpRedis is everything in Redis: names and values as Redis would save them,
// uncompressed.
func DumpRedis(t testing.TB, addr string) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	r := redis.NewClient(&redis.Options{Addr: addr})
	defer func() { _ = r.Close() }()
	if err := r.ConfigSet(ctx, "rdbcompression", "no").Err(); err != nil {
		t.Fatal(err)
	}
	keys, err := r.Keys(ctx, "*").Result()
	if err != nil {
		t.Fatal(err)
	}
	var all bytes.Buffer
	for _, key := range keys {
		fmt.Fprintf(&all, "%s = ", key)
		value, err := r.Dump(ctx, key).Result()
		if err != nil && err != redis.Nil { //nolint:errorlint // documented to be compared so; gone meanwhile
			t.Fatal(err)
		}
		fmt.Fprintf(&all, "%s\n", value)
	}
	return all.Bytes()
}

// Text is something that a process shows of itself.
type Text struct {
	Name    string
	Content []byte
}

// ProcessTexts are the command lines and environments of a process and of all
// its descendants.
func ProcessTexts(t testing.TB, p *Process) []Text {
	t.Helper()
	var texts []Text
	for _, pid := range family(t, p.PID()) {
		for _, name := range []string{"cmdline", "environ"} {
			path := fmt.Sprintf("/proc/%d/%s", pid, name)
			b, err := os.ReadFile(path)
			if os.IsNotExist(err) || errors.Is(err, syscall.ESRCH) {
				continue // it ended meanwhile
			}
			if err != nil {
				t.Fatal(err)
			}
			texts = append(texts, Text{path, b})
		}
	}
	if len(texts) < 2 {
		t.Fatalf("%s shows nothing of itself", p.Name)
	}
	return texts
}

// family is a process and all below it.
func family(t testing.TB, pid int) []int {
	t.Helper()
	all := []int{pid}
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		b, err := os.ReadFile(task)
		if err != nil {
			continue // the thread ended meanwhile
		}
		for child := range strings.FieldsSeq(string(b)) {
			n, err := strconv.Atoi(child)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, family(t, n)...)
		}
	}
	return all
}
