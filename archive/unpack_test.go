package archive

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"testing"

	"xvault/internal/entry"
)

// unpacked lists what Unpack visits: path, kind, where a hard link leads, content.
func unpacked(t *testing.T, r *Reader, paths ...string) []string {
	t.Helper()
	var got []string
	_, err := r.Unpack(t.Context(), paths, func(u Unpacked) error {
		line := u.Path
		if u.Above {
			line = "above " + line
		}
		switch u.Kind {
		case entry.File:
			b, err := io.ReadAll(u.Body)
			if err != nil || int64(len(b)) != u.Size {
				t.Errorf("%s: %d of %d bytes, %v", u.Path, len(b), u.Size, err)
			}
			line += "=" + string(b)
		case entry.Hardlink:
			content, err := u.Content(t.Context())
			if err != nil {
				return err
			}
			b, err := io.ReadAll(content)
			if err != nil || content.Close() != nil || int64(len(b)) != u.Size {
				t.Errorf("%s: %d of %d bytes, %v", u.Path, len(b), u.Size, err)
			}
			line += "->" + u.LinkTarget + "=" + string(b)
		case entry.Symlink:
			line += "->" + u.LinkTarget
		}
		got = append(got, line)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestUnpack(t *testing.T) {
	t.Parallel()
	r := newKeys(t).write(t, WriterConfig{}, mixed()...).open(t)
	for name, c := range map[string]struct{ paths, want []string }{
		"everything": {nil, []string{"d", "d/a=content of a", "d/sub", "d/sub/x=x", "d/sub/y->d/a=content of a", "d.txt=beside",
			"e=e", "f->e=e", "g->e=e", "l->d/a"}},
		"some":                    {[]string{"d/sub/x", "d/sub/y", "d.txt"}, []string{"above d", "above d/sub", "d/sub/x=x", "d/sub/y=content of a", "d.txt=beside"}},
		"links without the first": {[]string{"g", "f"}, []string{"f=e", "g->f=e"}},
		"a socket":                {[]string{"h"}, nil},
	} {
		if got := unpacked(t, r, c.paths...); !slices.Equal(got, c.want) {
			t.Errorf("%s:\n got %q\nwant %q", name, got, c.want)
		}
	}
	_, err := r.Unpack(t.Context(), []string{"e", "nowhere"}, func(u Unpacked) error { return fmt.Errorf("%s was visited", u.Path) })
	if err == nil || err.Error() != "nowhere: "+ErrNotFound.Error() {
		t.Errorf("a path that is not there: %v", err)
	}
}

// Whoever does not read a body gets the next one all the same; what is read without
// end before a wrong hash never ends well.
func TestUnpackWithoutReading(t *testing.T) {
	t.Parallel()
	big := string(bytes.Repeat([]byte("0123456789abcdef"), 1<<20))
	r := newKeys(t).write(t, WriterConfig{}, fileItem("a", big), fileItem("b", "b"), fileItem("c", big), fileItem("d", "d")).open(t)
	var got []string
	summary, err := r.Unpack(t.Context(), nil, func(u Unpacked) error {
		if u.Size > 10 {
			return nil
		}
		b, err := io.ReadAll(u.Body)
		got = append(got, string(b))
		return err
	})
	if err != nil || !slices.Equal(got, []string{"b", "d"}) || summary.Content.Files != 4 {
		t.Errorf("%q, %+v, %v", got, summary.Content, err)
	}
}
