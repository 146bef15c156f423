package sftp_test

import (
	"fmt"
	"testing"
)

// Of a folder as most are, one batch brings the names and one says that there are no
// more; a server that seems far away is asked for a third. What comes in many batches is
// asked for in many at once, also where they are not as full as OpenSSH's.
func TestFoldersTakeFewRequests(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct{ batches, names, atMost, atOnce int }{
		"few names":    {1, 5, 3, 0},
		"full batches": {40, 100, 40 + 64, 8},
		"short ones":   {40, 50, 40 + 64, 8},
	} {
		f := &fakeServer{openssh: true, nodes: dirs("/d")}
		f.nodes["/d"] = fakeNode{mode: directory, size: 4096}
		f.batches = func(dir string, n int) (names []string) {
			switch {
			case dir == "/" && n == 0:
				return []string{"d"}
			case dir != "/d" || n >= c.batches:
				return nil
			}
			for i := range c.names {
				name := fmt.Sprintf("f%02d-%03d", n, i)
				f.nodes["/d/"+name] = fakeNode{mode: regular, data: "x"}
				names = append(names, name)
			}
			return names
		}
		asked := 0
		f.answer = func(typ byte, _ uint32, body []byte) []byte {
			f.mu.Lock()
			defer f.mu.Unlock()
			if o := f.open[text(body)]; typ == 12 && o != nil && o.path == "/d" {
				asked++
			}
			return nil
		}
		all, err := readFake(t, f, quick)
		if err != nil || len(all) != 1+c.batches*c.names {
			t.Fatalf("%s: %d entries, %v", what, len(all), err)
		}
		// What was still on its way at the end shows how many were asked for at once.
		if asked > c.atMost || asked-c.batches-1 < c.atOnce {
			t.Errorf("%s: asked for %d batches of %d", what, asked, c.batches)
		}
	}
}
