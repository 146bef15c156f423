package download_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"xvault/internal/job"
	"xvault/internal/testenv"
	"xvault/internal/ticket"
	"xvault/store/blob"
	"xvault/worker/download"
	"xvault/worker/hubclient"
)

func TestDownload(t *testing.T) {
	t.Parallel()
	d := newDesk(t, nil)
	s := d.snapshot()
	address := d.ticketFor(s, job.RestorePayload{})
	a := d.get(address)
	if a.err != nil || a.StatusCode != http.StatusOK || !bytes.Equal(a.body, s.plaintext) || a.ContentLength != int64(len(s.plaintext)) {
		t.Fatalf("%s, %d of %d bytes, %v", a.Status, len(a.body), len(s.plaintext), a.err)
	}
	for header, want := range map[string]string{
		"Content-Type": "application/x-tar", "Accept-Ranges": "bytes", "Cache-Control": "private, no-store", "X-Content-Type-Options": "nosniff",
		"Content-Disposition": `attachment; filename=snapshot-` + s.key.SnapshotID.String() + `.tar`,
	} {
		if got := a.Header.Get(header); got != want {
			t.Errorf("%s: %q, want %q", header, got, want)
		}
	}
	head := d.send(http.MethodHead, address)
	if head.StatusCode != http.StatusOK || head.ContentLength != a.ContentLength || head.Header.Get("ETag") != a.Header.Get("ETag") || len(head.body) != 0 {
		t.Errorf("HEAD: %s, %d", head.Status, head.ContentLength)
	}
	if d.redeemed != 2 {
		t.Errorf("redeemed %d times for two requests", d.redeemed)
	}
	d.mayNotLog(address)
}

// mayNotLog: a ticket is a secret.
func (d *desk) mayNotLog(address string) {
	d.t.Helper()
	u, err := url.Parse(address)
	d.must(err)
	if text := u.Query().Get("ticket"); strings.Contains(d.log.String(), text) {
		d.t.Error("the ticket stands in the log")
	}
}

func TestDownloadOfOneFile(t *testing.T) {
	t.Parallel()
	d := newDesk(t, nil)
	s := d.snapshot()
	address := d.ticketFor(s, job.RestorePayload{Format: job.FormatFile, Paths: []string{"/home/big.bin"}})
	big := items[2].content
	a := d.get(address)
	if string(a.body) != big || a.Header.Get("Content-Disposition") != `attachment; filename=big.bin` || a.Header.Get("Content-Type") != "application/octet-stream" {
		t.Errorf("%s, %d bytes, %v", a.Status, len(a.body), a.Header)
	}
	for _, r := range [][2]int{{0, 1}, {5_000_000, 100}, {len(big) - 1, 1}, {len(big) - 7, 7}} {
		a := d.get(address, "Range", fmt.Sprintf("bytes=%d-%d", r[0], r[0]+r[1]-1))
		if a.StatusCode != http.StatusPartialContent || string(a.body) != big[r[0]:r[0]+r[1]] {
			t.Errorf("range %v: %s, %d bytes", r, a.Status, len(a.body))
		}
	}
	d.refused(d.get(d.ticketFor(s, job.RestorePayload{Format: job.FormatFile, Paths: []string{"/home/nothing"}})), 404, "path_not_found")
}

// F15's smaller sister: a download that is cut in half goes on where it was cut.
func TestRanges(t *testing.T) {
	t.Parallel()
	d := newDesk(t, nil)
	s := d.snapshot()
	for _, format := range []job.RestoreFormat{job.FormatTar, job.FormatTarZst} {
		address := d.ticketFor(s, job.RestorePayload{Format: format})
		whole := d.get(address)
		etag, size := whole.Header.Get("ETag"), len(whole.body)
		for spec, want := range map[string][2]int{
			"bytes=0-0": {0, 1}, "bytes=0-": {0, size}, fmt.Sprintf("bytes=%d-", size/2): {size / 2, size}, "bytes=-1": {size - 1, size},
			fmt.Sprintf("bytes=%d-%d", size/3, size*9): {size / 3, size}, "bytes=100-1999": {100, 2000}, fmt.Sprintf("bytes=-%d", size*2): {0, size},
		} {
			a := d.get(address, "Range", spec, "If-Range", etag)
			if a.err != nil || a.StatusCode != http.StatusPartialContent || !bytes.Equal(a.body, whole.body[want[0]:want[1]]) ||
				a.Header.Get("Content-Range") != fmt.Sprintf("bytes %d-%d/%d", want[0], want[1]-1, size) {
				t.Errorf("%s %s: %s, %d bytes, %q, %v", format, spec, a.Status, len(a.body), a.Header.Get("Content-Range"), a.err)
			}
		}
		for _, spec := range []string{"bytes=5-4", "bytes=a-b", "bytes=", "bytes=0-1,3-4", "lines=0-1", "bytes=--1", "bytes=+1-2", "bytes=0-99999999999999999999"} {
			if a := d.get(address, "Range", spec); a.StatusCode != http.StatusOK || len(a.body) != size {
				t.Errorf("%s: %s, %d bytes", spec, a.Status, len(a.body))
			}
		}
		if a := d.get(address, "Range", "bytes=0-0", "If-Range", `"other"`); a.StatusCode != http.StatusOK {
			t.Errorf("another ETag: %s", a.Status)
		}
		for _, spec := range []string{fmt.Sprintf("bytes=%d-", size), "bytes=-0"} {
			a := d.get(address, "Range", spec)
			d.refused(a, 416, "range_not_satisfiable")
			if a.Header.Get("Content-Range") != fmt.Sprintf("bytes */%d", size) {
				t.Errorf("Content-Range %q", a.Header.Get("Content-Range"))
			}
		}
	}
	if one, two := d.get(d.ticketFor(s, job.RestorePayload{})), d.get(d.ticketFor(s, job.RestorePayload{Paths: []string{"/home"}})); one.Header.Get("ETag") == two.Header.Get("ETag") {
		t.Error("two selections have one ETag")
	}
}

func TestZipDownload(t *testing.T) {
	t.Parallel()
	d := newDesk(t, nil)
	a := d.get(d.ticketFor(d.snapshot(), job.RestorePayload{Format: job.FormatZip, Paths: []string{"/home/sub"}}), "Range", "bytes=0-0")
	if a.err != nil || a.StatusCode != http.StatusOK || a.Header.Get("Accept-Ranges") != "none" || !bytes.HasPrefix(a.body, []byte("PK")) ||
		a.Header.Get("Content-Disposition") != "attachment; filename=sub.zip" {
		t.Errorf("%s, %d bytes, %v, %v", a.Status, len(a.body), a.Header, a.err)
	}
}

func TestTicketsThatAreNotGood(t *testing.T) {
	t.Parallel()
	d := newDesk(t, nil)
	s := d.snapshot()
	address := d.ticketFor(s, job.RestorePayload{})
	files := d.filesTicket(s)
	mark := strings.Index(address, "?ticket=") + len("?ticket=")
	before := d.redeemed
	bad := map[string]string{
		"none": address[:mark-len("?ticket=")], "an empty one": address[:mark], "two": address + "&" + address[mark-len("ticket="):],
		"cut": address[:len(address)-1], "longer": address + "A", "another job's path": strings.Replace(address, "/download/", "/download/"+uuid.NewString()+"?", 1),
		"a listing's": strings.Replace(files, "/files/", "/download/", 1), "of a download, for a listing": strings.Replace(address, "/download/", "/files/", 1),
		"another spelling of the id": upperID(address),
	}
	for i := mark; i < len(address); i += 7 {
		other := byte('A')
		if address[i] == 'A' {
			other = 'B'
		}
		bad[fmt.Sprintf("altered at %d", i-mark)] = address[:i] + string(other) + address[i+1:]
	}
	job1 := uuid.New()
	bad["another worker's"] = d.address("download", ticket.Ticket{ID: uuid.New(), Kind: ticket.Download, Subject: job1, Worker: "w2", Expires: time.Now().Add(time.Hour)})
	foreign := newDesk(t, nil)
	bad["another hub's"] = strings.Replace(foreign.ticketFor(s, job.RestorePayload{}), foreign.url, d.url, 1)
	for what, address := range bad {
		a := d.get(address)
		if a.StatusCode == http.StatusOK {
			t.Errorf("a ticket, %s, was taken", what)
		}
		d.refused(a, 403, "ticket_invalid")
	}
	if d.redeemed != before {
		t.Error("the hub was asked about tickets that are none")
	}
	for code, status := range map[string]int{
		job.RefusedTicketExpired: 410, job.RefusedTicketRevoked: 410, job.RefusedTicketGone: 410, job.RefusedTicketUnknown: 403,
	} {
		hub := 410
		if status == 403 {
			hub = 404
		}
		d.refusal = &hubclient.Error{Status: hub, Code: code}
		if status == 403 {
			code = "ticket_invalid"
		}
		d.refused(d.get(address), status, code)
	}
	d.refusal = &hubclient.UnreachableError{Err: errors.New("no route")}
	d.refused(d.get(address), 503, "hub_unreachable")
	d.refused(d.send(http.MethodPost, address), 405, "method_not_allowed")
	d.refused(d.get(d.url+"/elsewhere"), 404, "not_found")
}

// upperID spells the id of an address in capitals.
func upperID(address string) string {
	i := strings.Index(address, "/download/") + len("/download/")
	return address[:i] + strings.ToUpper(address[i:i+36]) + address[i+36:]
}

// Damage is told before the answer where it can be, and breaks the transfer
// where it cannot.
func TestDamagedArtifacts(t *testing.T) {
	t.Parallel()
	d := newDesk(t, nil)
	one, two := d.snapshot(), d.snapshot()
	sound, err := os.ReadFile(d.artifact(one))
	d.must(err)
	write := func(b []byte) { d.must(os.WriteFile(d.artifact(one), b, 0o600)) }
	for _, format := range []job.RestoreFormat{job.FormatTar, job.FormatTarZst, job.FormatZip} {
		address := d.ticketFor(one, job.RestorePayload{Format: format})
		for what, at := range map[string]int{"header": 60, "first chunk": 400, "middle": len(sound) / 2, "last chunk": len(sound) - 3} {
			damaged := bytes.Clone(sound)
			damaged[at] ^= 1
			write(damaged)
			if a := d.get(address); a.StatusCode == http.StatusOK && a.err == nil {
				t.Errorf("%s: a flipped byte in %s: %d bytes as if nothing were wrong", format, what, len(a.body))
			}
		}
		for _, length := range []int{0, 50, len(sound) / 2, len(sound) - 1} {
			write(sound[:length])
			d.refused(d.get(address), 500, "artifact_corrupt")
		}
		write(append(bytes.Clone(sound), 0))
		d.refused(d.get(address), 500, "artifact_corrupt")
	}
	address := d.ticketFor(one, job.RestorePayload{})
	swapped, err := os.ReadFile(d.artifact(two))
	d.must(err)
	write(swapped)
	d.refused(d.get(address), 500, "artifact_corrupt")
	d.must(d.store.Remove(t.Context(), one.key))
	d.refused(d.get(address), 404, "artifact_missing")
}

func TestStorageThatIsAway(t *testing.T) {
	t.Parallel()
	d := newDesk(t, func(c *download.Config) {
		c.Store = func() (blob.Store, error) { return nil, &blob.Error{Op: "open storage", Err: blob.ErrMissing} }
	})
	d.refused(d.get(d.ticketFor(d.snapshot(), job.RestorePayload{})), 503, "storage_failed")
}

// One that does not read is hung up on, and does not keep others out for ever.
func TestSlowReadersAndBusySlots(t *testing.T) {
	t.Parallel()
	d := newDesk(t, func(c *download.Config) { c.Transfers, c.Stall = 1, time.Second })
	s := d.snapshot()
	address := d.ticketFor(s, job.RestorePayload{})
	u, err := url.Parse(address)
	d.must(err)
	conn, err := net.Dial("tcp", u.Host)
	d.must(err)
	defer func() { _ = conn.Close() }()
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		t.Fatalf("%T is no TCP connection", conn)
	}
	d.must(tcp.SetReadBuffer(64 << 10))
	_, err = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", u.RequestURI(), u.Host)
	d.must(err)
	testenv.Eventually(t, 2*time.Minute, func() bool { return d.get(address).StatusCode == http.StatusServiceUnavailable }, "the slot is never taken")
	busy := d.get(address)
	if busy.StatusCode == http.StatusServiceUnavailable {
		d.refused(busy, 503, "busy")
		if busy.Header.Get("Retry-After") == "" {
			t.Error("it does not say when to come again")
		}
	}
	testenv.Eventually(t, 2*time.Minute, func() bool { return d.get(address).StatusCode == http.StatusOK }, "the slot is never given free")
	if got, err := io.ReadAll(conn); err == nil && len(got) >= len(s.plaintext) {
		t.Errorf("the slow reader got all %d bytes", len(got))
	}
}

func TestFiles(t *testing.T) {
	t.Parallel()
	d := newDesk(t, nil)
	address := d.filesTicket(d.snapshot())
	paths := func(query string) []string {
		t.Helper()
		var all []string
		cursor := ""
		for {
			a := d.get(address + query + "&cursor=" + cursor)
			var page download.Page
			if err := json.Unmarshal(a.body, &page); err != nil || a.StatusCode != http.StatusOK {
				t.Fatalf("%s: %s %s", query, a.Status, a.body)
			}
			for _, f := range page.Items {
				all = append(all, f.Path)
			}
			if cursor = page.NextCursor; cursor == "" {
				return all
			}
		}
	}
	for query, want := range map[string]string{
		"":                    "/home /srv",
		"&path=/":             "/home /srv",
		"&path=/srv":          "/srv/x",
		"&path=/home":         "/home/a.txt /home/big.bin /home/link /home/sub /home/\uFFFD",
		"&path=/home&limit=1": "/home/a.txt /home/big.bin /home/link /home/sub /home/\uFFFD",
		"&path=/home/sub/":    "/home/sub/deep.txt", "&path=/home/a.txt": "/home/a.txt",
		"&search=TXT": "/home/a.txt /home/sub/deep.txt", "&search=txt&limit=1": "/home/a.txt /home/sub/deep.txt",
		"&search=deep&path=/home/sub": "/home/sub/deep.txt", "&search=a.txt&path=/home/sub": "", "&search=nowhere": "",
	} {
		if got := strings.Join(paths(query), " "); got != want {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
	}
	a := d.get(address + "&search=link")
	var page download.Page
	d.must(json.Unmarshal(a.body, &page))
	if f := page.Items[0]; f.Type != "symlink" || f.LinkTarget != "a.txt" || f.Mode != "0644" || f.ModTime.Unix() != 1_700_000_000 || !f.Stored {
		t.Errorf("%+v", f)
	}
	a = d.get(address + "&path=/home&limit=1000")
	d.must(json.Unmarshal(a.body, &page))
	if last := page.Items[len(page.Items)-1]; string(last.PathBase64) != "/home/\xff" || last.Size != 9 {
		t.Errorf("%+v", last)
	}
	for query, code := range map[string]string{"&path=/nothing": "path_not_found", "&path=relative": "validation_failed", "&limit=0": "validation_failed", "&cursor=!": "validation_failed", "&path_base64=!": "validation_failed"} {
		status := 422
		if code == "path_not_found" {
			status = 404
		}
		d.refused(d.get(address+query), status, code)
	}
}
