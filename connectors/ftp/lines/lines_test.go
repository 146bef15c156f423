package lines_test

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"xvault/connectors/ftp/lines"
	"xvault/internal/entry"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func TestLIST(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]lines.Line{
		"-rw-r--r--   1 user     group           2 Nov 26 04:41  lead": {
			Name: " lead", Kind: entry.File, Size: 2, HasSize: true, Mode: 0o644, User: "user", Group: "group", ModTime: time.Date(2025, 11, 26, 4, 41, 0, 0, time.UTC),
		},
		"drwsr-sr-t    4 0        12            4096 Feb 29  2024 a b ": {
			Name: "a b ", Kind: entry.Dir, Mode: 0o7755, GID: 12, Size: 4096, ModTime: time.Date(2024, 2, 29, 0, 0, 0, 0, time.UTC),
		},
		"lrwxrwxrwx    1 0        0               7 Mar 01 05:11 dang -> nowhere": {
			Name: "dang", Target: "nowhere", Kind: entry.Symlink, Mode: 0o777, ModTime: time.Date(2026, 3, 1, 5, 11, 0, 0, time.UTC),
		},
		"lrwxrwxrwx    1 0        0              70 Mar 01 05:11 cut -> nowhere": {
			Name: "cut", Kind: entry.Symlink, Mode: 0o777, ModTime: time.Date(2026, 3, 1, 5, 11, 0, 0, time.UTC),
		},
		"crw-rw-rw-    1 0        0          1,   3 Mar 01 05:11 null": {
			Name: "null", Kind: entry.Device, Mode: 0o666, ModTime: time.Date(2026, 3, 1, 5, 11, 0, 0, time.UTC),
		},
		"-rw-r--r--+ 1 Jan Feb 12 Dec 31 23:59 Jan 1 2020 x": {
			Name: "Jan 1 2020 x", Kind: entry.File, Size: 12, HasSize: true, Mode: 0o644, User: "Jan", Group: "Feb", ModTime: time.Date(2025, 12, 31, 23, 59, 0, 0, time.UTC),
		},
		"-rw-rw-rw-   1 owner  5 Mar 02 23:00 tomorrow.zone": {
			Name: "tomorrow.zone", Kind: entry.File, Size: 5, HasSize: true, Mode: 0o666, User: "owner", ModTime: time.Date(2026, 3, 2, 23, 0, 0, 0, time.UTC),
		},
		"11-26-25  04:41AM       <DIR>           two": {Name: " two", Kind: entry.Dir, ModTime: time.Date(2025, 11, 26, 4, 41, 0, 0, time.UTC)},
		"11-26-2025  04:41PM                   12 a file.txt": {
			Name: "a file.txt", Kind: entry.File, Size: 12, HasSize: true, ModTime: time.Date(2025, 11, 26, 16, 41, 0, 0, time.UTC),
		},
		`11-26-25  04:41AM       <JUNCTION>     old [C:\new]`: {Name: "old", Target: `C:\new`, Kind: entry.Symlink, ModTime: time.Date(2025, 11, 26, 4, 41, 0, 0, time.UTC)},
	} {
		want.HasTime, want.HasMode = true, text[0] > '9' || text[0] == '-'
		got, ok, err := lines.List(text, now)
		if err != nil || !ok || got != want {
			t.Errorf("%q\n got %+v, %v, %v\nwant %+v", text, got, ok, err, want)
		}
	}
	for _, text := range []string{
		"what is this", "-rw-r--r--", "-rw-r--r-- 1 u g 12 Nov 26 04:41 ", "-rw-r--r-- 1 u g big Nov 26 04:41 x", "?rw-r--r-- 1 u g 1 Nov 26 04:41 x", "-rw-r--r-- 1 u g -1 Nov 26 04:41 x",
		"11-26-25 04:41AM <DIR>", "11-26-25 04:41AM -5 x", "99-99-99 04:41AM 5 x", "-rw-r--r-- 1 u g 1 Nov 32 04:41 x", "total x",
	} {
		if got, ok, err := lines.List(text, now); err == nil || ok {
			t.Errorf("%q is understood: %+v", text, got)
		}
	}
	for _, text := range []string{"", "total 12", "  "} {
		if got, ok, err := lines.List(text, now); err != nil || ok {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
}

func TestMLSD(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 26, 4, 41, 29, 0, time.UTC)
	for text, want := range map[string]lines.Line{
		"modify=20261126044129;perm=adfrw;size=2;type=file;UNIX.group=7;UNIX.groupname=staff;UNIX.mode=04755;UNIX.owner=8;UNIX.ownername=user;  a=b; c": {
			Name: " a=b; c", Kind: entry.File, Size: 2, HasSize: true, Mode: 0o4755, HasMode: true, UID: 8, GID: 7, User: "user", Group: "staff", ModTime: at, HasTime: true, Precise: true,
			Perm: "adfrw", HasPerm: true,
		},
		"Type=OS.unix=slink:/there;Modify=20261126044129.5; x": {
			Name: "x", Kind: entry.Symlink, Target: "/there", ModTime: at.Add(time.Second / 2), HasTime: true, Precise: true,
		},
		"type=cdir;sizd=4096; .":    {Name: ".", Kind: entry.Dir, Self: true},
		"type=OS.unix=symlink; .":   {Name: ".", Kind: entry.Symlink, Self: true},
		"type=pdir;sizd=4096; ..":   {Name: "..", Kind: entry.Dir, Parent: true},
		"type=unknown; what":        {Name: "what", Kind: entry.FIFO},
		"unix.owner=me;type=dir; x": {Name: "x", Kind: entry.Dir, User: "me"},
	} {
		if got, err := lines.MLSD(text); err != nil || got != want {
			t.Errorf("%q\n got %+v, %v\nwant %+v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "x", "type=file;", "type=file; ", "size=-1; x", "size=a; x", "modify=never; x", "unix.mode=999; x", "no facts"} {
		if got, err := lines.MLSD(text); err == nil {
			t.Errorf("%q is understood: %+v", text, got)
		}
	}
}

func TestReader(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]string{
		"":                          nil,
		"a\r\nb\nc\r\n":             {"a", "b\nc"},
		"a\nb\r\n":                  {"a", "b\r"},
		"a\r\n\r\nb\r\r\n":          {"a", "", "b\r"},
		"a\r\nb":                    {"a", "cut"},
		"a\r\nb\n":                  {"a", "cut"},
		strings.Repeat("x", 20_000): {"long"},
	} {
		r, i := lines.NewReader(strings.NewReader(text)), 0
		for ; ; i++ {
			line, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			ends := map[error]string{io.ErrUnexpectedEOF: "cut", lines.ErrTooLong: "long"}
			if end := ends[err]; err != nil {
				line = end
			}
			if i >= len(want) || line != want[i] {
				t.Errorf("%.40q: line %d is %q, %v", text, i, line, err)
				break
			}
			if err != nil {
				i++
				break
			}
		}
		if i != len(want) {
			t.Errorf("%.40q: %d lines, want %d", text, i, len(want))
		}
	}
}

func FuzzLines(f *testing.F) {
	f.Add("-rw-r--r--   1 user     group           2 Nov 26 04:41  lead")
	f.Add("11-26-25  04:41AM       <DIR>           two")
	f.Add("type=file;size=1;modify=20261126044129; x")
	f.Fuzz(func(t *testing.T, text string) {
		if l, ok, err := lines.List(text, now); err == nil && ok && l.Name == "" {
			t.Errorf("%q has no name", text)
		}
		if l, err := lines.MLSD(text); err == nil && (l.Name == "" || l.Size < 0) {
			t.Errorf("%q: %+v", text, l)
		}
	})
}
