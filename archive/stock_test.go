package archive

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"xvault/internal/entry"
)

// awkward is a tree with every name and attribute that has ever hurt somebody.
func awkward() []item {
	long := strings.Repeat("n", 255)
	items := []item{
		dirItem("a"), dirItem("a/empty"), fileItem("a/zero", ""),
		fileItem("a/z\nnewline", "x"), fileItem("a b", "a space sorts behind the slash"),
		fileItem("-rf", "leading dash"), fileItem("$(touch pwned)", "shell"),
		fileItem("quote'\"", "quotes"), fileItem("umlaut-äöü-日本", "UTF-8"),
		fileItem("latin1-\xe4\xf6\xfc", "not UTF-8"), fileItem("\xff\xfe", "neither"),
		fileItem("back\\slash", "x"), fileItem("tab\there", "x"), fileItem("esc\x1b[31m", "x"),
		dirItem(long), fileItem(long+"/"+long, "255 byte components"),
		dirItem("p"), dirItem("p/" + strings.Repeat("d", 60)), fileItem("p/"+strings.Repeat("d", 60)+"/"+strings.Repeat("f", 90), "needs the prefix field"),
		fileItem("big", noiseString(1, 9<<20)),
		linkItem(entry.Symlink, "link-abs", "/etc/passwd"), linkItem(entry.Symlink, "link-loop", "link-loop"),
		linkItem(entry.Symlink, "link-long", strings.Repeat("t/", 200)+"end"),
		linkItem(entry.Symlink, "link-bytes", "\xff\xfe"),
		fileItem("m", "hard"), linkItem(entry.Hardlink, "m2", "m"), linkItem(entry.Hardlink, "m3", "m"),
	}
	// A path of about 4,000 bytes.
	deep := "deep"
	for range 15 {
		items = append(items, dirItem(deep))
		deep += "/" + strings.Repeat("x", 254)
	}
	items = append(items, dirItem(deep), fileItem(deep+"/"+long, "deep down"))
	items = append(items, withTime("t-nano", time.Unix(1_700_000_000, 123_456_789)),
		withTime("t-tenth", time.Unix(1_700_000_000, 100_000_000)), withTime("t-before", time.Unix(-2, 500_000_000)),
		withTime("t-1901", time.Date(1901, 12, 13, 20, 45, 52, 0, time.UTC)),
		withTime("t-2400", time.Date(2400, 1, 1, 0, 0, 0, 0, time.UTC)), withTime("t-epoch", time.Unix(0, 0)))
	for _, mode := range []uint32{0, 0o400, 0o777, 0o4755, 0o2755, 0o1777, 0o6711} {
		it := fileItem(fmt.Sprintf("mode-%04o", mode), "x")
		it.Mode = mode
		d := dirItem(fmt.Sprintf("dmode-%04o", mode))
		d.Mode = mode
		items = append(items, it, d, fileItem(d.Path+"/f", "inside"))
	}
	owned := fileItem("owned", "x")
	owned.UID, owned.GID, owned.User, owned.Group = 3_000_000_000, 2_500_000, "björn", strings.Repeat("g", 100)
	return sortItems(append(items, owned))
}

func withTime(path string, at time.Time) item {
	it := fileItem(path, path)
	it.ModTime = at
	return it
}

// TestStockToolsAndReaderAgree restores the awkward tree with age, zstd and tar,
// and with the Reader, and compares both with what went in.
func TestStockToolsAndReaderAgree(t *testing.T) {
	t.Parallel()
	items := awkward()
	s := newKeys(t).write(t, WriterConfig{}, items...)
	want := wanted(items)
	sameTree(t, "stock tools", tree(t, s.stock(t)), want)

	dir, report, err := s.extract(t, ExtractOptions{KeepSetID: true})
	if err != nil {
		t.Fatal(err)
	}
	sameTree(t, "Reader", tree(t, dir), want)
	if report.Content != s.summary.Content {
		t.Errorf("extracted %+v, wrote %+v", report.Content, s.summary.Content)
	}
	checked, err := s.check(t)
	if err != nil {
		t.Fatal(err)
	}
	if checked.Content != s.summary.Content || checked.SHA256 != s.summary.SHA256 || checked.SizeBytes != s.summary.SizeBytes {
		t.Errorf("checked %+v, wrote %+v", checked, s.summary)
	}
}
