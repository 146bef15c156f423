package worker

import (
	"os"
	"path/filepath"
	"testing"
)

func TestFolderOfAnAttempt(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "temp")
	temp, _, err := openTempDir(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	id := newID()
	first, second, unused := temp.folder(id, 1), temp.folder(id, 2), temp.folder(newID(), 1)
	for _, f := range []*jobFolder{first, second} {
		path, err := f.path()
		if err != nil {
			t.Fatal(err)
		}
		if again, err := f.path(); err != nil || again != path || !filepath.IsAbs(path) {
			t.Errorf("asked again: %q, %v, not %q", again, err, path)
		}
		if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o700 {
			t.Errorf("%v, %v", st, err)
		}
		if err := os.WriteFile(filepath.Join(path, "socket"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := temp.folder(id, 1).path(); err == nil {
		t.Error("two have the same folder")
	}
	for i, f := range []*jobFolder{first, unused, second, second} {
		if err := f.remove(); err != nil {
			t.Error(i, err)
		}
		if _, err := os.Stat(filepath.Join(dir, id.String(), "2")); i < 2 && err != nil {
			t.Errorf("the folder of an attempt went with another's: %v", err)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	if err := temp.close(); err != nil {
		t.Error(err)
	}
}
