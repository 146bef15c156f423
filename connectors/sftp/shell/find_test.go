package shell

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
)

const mark = "0123456789abcdef0123456789abcdef"

func reading(b []byte) (*finder, func(func(*Record) error) (Listing, error)) {
	f := &finder{p: &process{marker: mark}, in: bufio.NewReaderSize(bytes.NewReader(b), 4096)}
	return f, f.read
}

func listing(records ...string) []byte {
	return []byte("noise\n" + mark + " (GNU findutils) 4.9.0\n" + strings.Join(records, "") + "E0\x00" + mark + "\x00\x00\x00")
}

func TestFindsRecords(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("n", 4000)
	_, read := reading(listing(
		"d0 755 4096 1700000000.1234567890 2049 2 3 0 0\x00root\x00\x00/root\x00",
		"f1 4755 18446744073 -6.7500000000 2049 12345678901 1 4294967295 7\x00new\nline\x00\x00/root\x00",
		"l1 777 4 0.0000000000 2049 5 1 1 1\x00"+long+"\x00"+long+"\x00/root\x00",
	))
	var got []string
	list, err := read(func(r *Record) error {
		got = append(got, fmt.Sprintf("%c%d %o %d %d.%09d %d:%d %d %d %d %q %q %q", r.Type, r.Depth, r.Mode, r.Size, r.Sec, r.Nsec,
			r.Device, r.Inode, r.Links, r.UID, r.GID, r.Name, r.Target, r.Start))
		return nil
	})
	if err != nil || list.Tool != "GNU findutils 4.9.0" {
		t.Fatalf("%+v, %v", list, err)
	}
	want := []string{
		`d0 755 4096 1700000000.123456789 2049:2 3 0 0 "root" "" "/root"`,
		`f1 4755 18446744073 -6.750000000 2049:12345678901 1 4294967295 7 "new\nline" "" "/root"`,
		fmt.Sprintf(`l1 777 4 0.000000000 2049:5 1 1 1 "%s" "%s" "/root"`, long, long),
	}
	for i := range want {
		if i >= len(got) || got[i] != want[i] {
			t.Fatalf("got  %q\nwant %q", got, want)
		}
	}
}

func TestListingsThatAreNotComplete(t *testing.T) {
	t.Parallel()
	const good = "f1 644 1 1.0 1 1 1 0 0\x00a\x00\x00/\x00"
	for name, b := range map[string][]byte{
		"cut":             []byte("\n" + mark + " (GNU findutils) 4.9.0\n" + good + "f1 64"),
		"no end":          []byte("\n" + mark + " (GNU findutils) 4.9.0\n" + good),
		"another's end":   []byte("\n" + mark + " (GNU findutils) 4.9.0\n" + good + "E0\x00" + strings.Repeat("0", 32) + "\x00\x00\x00"),
		"killed":          []byte("\n" + mark + " (GNU findutils) 4.9.0\n" + good + "E125\x00" + mark + "\x00\x00\x00"),
		"a letter":        listing("f1 644 x 1.0 1 1 1 0 0\x00a\x00\x00/\x00"),
		"too large":       listing("f1 644 9999999999999999999999 1.0 1 1 1 0 0\x00a\x00\x00/\x00"),
		"a field less":    listing("f1 644 1 1.0 1 1 1 0\x00a\x00\x00/\x00"),
		"a field more":    listing("f1 644 1 1.0 1 1 1 0 0 0\x00a\x00\x00/\x00"),
		"empty":           listing("\x00a\x00\x00/\x00"),
		"an endless name": listing("f1 644 1 1.0 1 1 1 0 0\x00" + strings.Repeat("a", 100_000) + "\x00\x00/\x00"),
		"nothing":         nil,
		"other words":     []byte("This account is currently not available.\n"),
	} {
		_, read := reading(b)
		_, err := read(func(*Record) error { return nil })
		if !errors.Is(err, ErrIncomplete) && !errors.Is(err, ErrUnfit) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestComplaintsOfFind(t *testing.T) {
	t.Parallel()
	var c complaints
	for _, line := range []string{
		`find: '/a/b': Permission denied`,
		`find: '/it\'s\\a\nline\303\274': No such file or directory`,
	} {
		c.take([]byte(line))
	}
	if c.unclear != "" || strings.Join(c.paths, "|") != "/a/b|/it's\\a\nlineü" {
		t.Errorf("%+v", c)
	}
	for _, line := range []string{"find: odd", "find: 'relative': x", `find: '/a`, `find: '/a\9': x`, "xargs: find: x", "find: ''"} {
		var c complaints
		if c.take([]byte(line)); c.unclear == "" {
			t.Errorf("%q is understood as %+v", line, c)
		}
	}
}

func FuzzFind(f *testing.F) {
	f.Add(listing("d0 755 4096 1700000000.1234567890 2049 2 3 0 0\x00root\x00\x00/root\x00"))
	f.Fuzz(func(_ *testing.T, b []byte) {
		_, read := reading(b)
		_, _ = read(func(*Record) error { return nil }) // any error will do
	})
}
