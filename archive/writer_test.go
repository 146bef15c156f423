package archive

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"

	"xvault/internal/entry"
	"xvault/internal/job"
)

func newTestWriter(t *testing.T, w io.Writer) *Writer {
	t.Helper()
	aw, err := NewWriter(w, WriterConfig{Recipients: []string{newKeys(t).recipient}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(aw.Abort)
	return aw
}

func TestSummary(t *testing.T) {
	t.Parallel()
	s := newKeys(t).write(t, WriterConfig{},
		dirItem("a"), fileItem("a/f", "12345"), linkItem(entry.Hardlink, "a/g", "a/f"),
		item{Header: entry.Header{Path: "a/p", Kind: entry.FIFO}},
		linkItem(entry.Symlink, "l", "a"))
	want := Content{Files: 1, Dirs: 1, Links: 2, Bytes: 5, Skipped: 1}
	if s.summary.Content != want || !s.summary.Complete() {
		t.Errorf("content %+v, want %+v", s.summary.Content, want)
	}
	sum := sha256.Sum256(s.bytes)
	if s.summary.SHA256 != hex.EncodeToString(sum[:]) || s.summary.SizeBytes != int64(len(s.bytes)) {
		t.Errorf("the summary has %s and %d bytes, the artifact %x and %d",
			s.summary.SHA256, s.summary.SizeBytes, sum, len(s.bytes))
	}
}

// body yields content and then ends with err.
func body(content string, err error) io.Reader {
	return io.MultiReader(strings.NewReader(content), iotest.ErrReader(err))
}

func broken(code job.Code) error {
	return &entry.ContentError{Code: string(code), Err: errors.New("the file shrank")}
}

// TestBodies goes through the ways in which a file's content can end.
func TestBodies(t *testing.T) {
	t.Parallel()
	const changed, padded, parts = entry.ChangedWhileRead, entry.Padded, entry.Parts
	lost := errors.New("connection lost")
	for name, c := range map[string]struct {
		size   int64
		body   io.Reader
		stored string
		flags  entry.Flags
		code   job.Code
		err    error
	}{
		"as announced":          {5, body("12345", io.EOF), "12345", 0, "", nil},
		"one byte at a time":    {5, iotest.OneByteReader(body("12345", io.EOF)), "12345", 0, "", nil},
		"data with EOF":         {5, iotest.DataErrReader(strings.NewReader("12345")), "12345", 0, "", nil},
		"empty":                 {0, body("", io.EOF), "", 0, "", nil},
		"empty without a body":  {0, nil, "", 0, "", nil},
		"empty grew":            {0, body("x", io.EOF), "", changed, "", nil},
		"changed":               {5, body("12345", entry.ErrChanged), "12345", changed, "", nil},
		"changed with data":     {5, iotest.DataErrReader(body("12345", entry.ErrChanged)), "12345", changed, "", nil},
		"grew":                  {5, body("123456789", io.EOF), "12345", changed, "", nil},
		"shrank":                {5, body("123", broken(job.SourceChanged)), "123\x00\x00", changed | padded, job.SourceChanged, nil},
		"shrank to nothing":     {3, body("", broken(job.PermissionDenied)), "\x00\x00\x00", changed | padded, job.PermissionDenied, nil},
		"error behind the end":  {5, body("12345", broken(job.SourceChanged)), "12345", changed | padded, job.SourceChanged, nil},
		"unknown code":          {5, body("123", broken("nonsense")), "123\x00\x00", changed | padded, job.Internal, nil},
		"early EOF":             {5, body("123", io.EOF), "123\x00\x00", changed | padded, job.SourceChanged, nil},
		"early change":          {5, body("123", entry.ErrChanged), "123\x00\x00", changed | padded, job.SourceChanged, nil},
		"lost":                  {5, body("123", lost), "", 0, "", lost},
		"lost behind the end":   {5, body("12345", lost), "", 0, "", lost},
		"no body":               {5, nil, "", 0, "", errAny},
		"negative size":         {-7, body("", io.EOF), "", 0, "", errAny},
		"never anything":        {5, silent{}, "", 0, "", io.ErrNoProgress},
		"too much at once":      {5, liar{}, "", 0, "", errAny},
		"unknown, short":        {-1, body("12345", io.EOF), "12345", 0, "", nil},
		"unknown, empty":        {-1, body("", io.EOF), "", 0, "", nil},
		"unknown, one part":     {-1, body(noiseString(1, MaxPart), io.EOF), noiseString(1, MaxPart), 0, "", nil},
		"unknown, a byte more":  {-1, body(noiseString(1, MaxPart+1), io.EOF), noiseString(1, MaxPart+1), parts, "", nil},
		"unknown, two parts":    {-1, body(noiseString(2, 2*MaxPart), io.EOF), noiseString(2, 2*MaxPart), parts, "", nil},
		"unknown, three parts":  {-1, iotest.HalfReader(body(noiseString(3, 2*MaxPart+9), io.EOF)), noiseString(3, 2*MaxPart+9), parts, "", nil},
		"unknown, byte by byte": {-1, iotest.HalfReader(body(noiseString(2, MaxPart+9), io.EOF)), noiseString(2, MaxPart+9), parts, "", nil},
		"unknown, changed":      {-1, body("123", entry.ErrChanged), "123", changed, "", nil},
		"unknown, broken":       {-1, body("123", broken(job.DumpFailed)), "123", changed | padded, job.DumpFailed, nil},
		"unknown, lost":         {-1, body("123", lost), "", 0, "", lost},
		"unknown, lost later":   {-1, body(noiseString(1, MaxPart+5), lost), "", 0, "", lost},
		"unknown, no body":      {-1, nil, "", 0, "", errAny},
		"unknown, silent":       {-1, silent{}, "", 0, "", io.ErrNoProgress},
		"unknown, too much":     {-1, liar{}, "", 0, "", errAny},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := newKeys(t)
			var buf bytes.Buffer
			w, err := NewWriter(&buf, WriterConfig{Recipients: []string{k.recipient}})
			if err != nil {
				t.Fatal(err)
			}
			defer w.Abort()
			h := entry.Header{Path: "d/f", Kind: entry.File, Mode: 0o600, ModTime: testTime, Size: c.size}
			out, err := w.Add(context.Background(), h, c.body)
			if c.err != nil {
				wantOver(t, w, err, c.err)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			wantOutcome(t, out, c.stored, c.flags)
			if err := addItem(w, fileItem("next", "follows")); err != nil {
				t.Fatal(err)
			}
			summary, err := w.Close()
			if err != nil {
				t.Fatal(err)
			}
			s := sealed{k, buf.Bytes(), summary}
			s.wantFile(t, "d/f", c.stored, c.flags, c.code)
			s.wantFile(t, "next", "follows", 0, "")
		})
	}
}

var errAny = errors.New("any error")

type silent struct{}

func (silent) Read([]byte) (int, error) { return 0, nil }

type liar struct{}

func (liar) Read(p []byte) (int, error) { return len(p) + 1, nil }

// wantOver checks that an archive has ended with an error for good.
func wantOver(t *testing.T, w *Writer, err, want error) {
	t.Helper()
	if err == nil || (!errors.Is(want, errAny) && !errors.Is(err, want)) {
		t.Fatalf("error %v, want %v", err, want)
	}
	if err := addItem(w, fileItem("zzz", "")); err == nil {
		t.Error("an archive that has failed took another entry")
	}
	if _, err := w.Close(); err == nil {
		t.Error("an archive that has failed could be closed")
	}
}

func wantOutcome(t *testing.T, out Outcome, stored string, flags entry.Flags) {
	t.Helper()
	if out.Size != int64(len(stored)) || out.SHA256 != sha256.Sum256([]byte(stored)) || out.Flags != flags {
		t.Errorf("outcome %+v, want %d bytes and flags %b", out, len(stored), flags)
	}
	if (out.Err != nil) != (flags&entry.Padded != 0) {
		t.Errorf("outcome with error %v and flags %b", out.Err, flags)
	}
}

func (s sealed) wantFile(t *testing.T, path, content string, flags entry.Flags, code job.Code) {
	t.Helper()
	r := s.open(t)
	e, err := r.Lookup(path)
	if err != nil {
		t.Fatal(err)
	}
	if e.Flags != flags || e.Code != code || e.Size != int64(len(content)) || e.SHA256 != sha256.Sum256([]byte(content)) {
		t.Errorf("%s: index has %+v, want flags %b, code %q, %d bytes", path, e, flags, code, len(content))
	}
	got, err := r.ReadFile(context.Background(), path, 1<<30)
	if err != nil || string(got) != content {
		t.Errorf("%s: read %d bytes, %v; want %d", path, len(got), err, len(content))
	}
	report, err := s.check(t)
	if err != nil {
		t.Fatal(err)
	}
	if report.Content != s.summary.Content {
		t.Errorf("check counts %+v, the writer %+v", report.Content, s.summary.Content)
	}
}

func TestRefusedEntries(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a/", MaxPath/2) + "a"
	for name, items := range map[string][]item{
		"empty path": {fileItem("", "")}, "absolute": {fileItem("/a", "")}, "parent": {fileItem("a/../b", "")},
		"only parent": {fileItem("..", "")}, "dot": {fileItem("./a", "")}, "double slash": {fileItem("a//b", "")},
		"slash at the end": {fileItem("a/", "")}, "zero byte": {fileItem("a\x00b", "")}, "too long": {fileItem(long, "")},
		"same twice":                {fileItem("a", ""), fileItem("a", "")},
		"backwards":                 {fileItem("b", ""), fileItem("a", "")},
		"directory behind contents": {fileItem("a/b", ""), dirItem("a")},
		"bytes, not components":     {dirItem("a"), fileItem("a b", ""), fileItem("a/b", "")},
		"below a file":              {fileItem("a", ""), fileItem("a/b", "")},
		"below a symlink":           {linkItem(entry.Symlink, "a", "/"), fileItem("a/b", "")},
		"symlink to nowhere":        {linkItem(entry.Symlink, "a", "")},
		"symlink with a zero byte":  {linkItem(entry.Symlink, "a", "b\x00")},
		"hard link forward":         {linkItem(entry.Hardlink, "a", "b")},
		"hard link to itself":       {linkItem(entry.Hardlink, "a", "a")},
		"hard link out":             {linkItem(entry.Hardlink, "a", "../b")},
		"hard link absolute":        {linkItem(entry.Hardlink, "a", "/b")},
		"unknown kind":              {item{Header: entry.Header{Path: "a", Kind: 99}}},
		"negative owner":            {item{Header: entry.Header{Path: "a", Kind: entry.Dir, UID: -1}}},
		"malformed xattr":           {item{Header: entry.Header{Path: "a", Kind: entry.Dir, Xattrs: map[string]string{"": "x"}}}},
		"huge xattr": {item{Header: entry.Header{Path: "a", Kind: entry.Dir,
			Xattrs: map[string]string{"user.x": strings.Repeat("x", maxXattr)}}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newTestWriter(t, io.Discard)
			last := len(items) - 1
			for _, it := range items[:last] {
				if err := addItem(w, it); err != nil {
					t.Fatal(err)
				}
			}
			wantOver(t, w, addItem(w, items[last]), errAny)
		})
	}
}

func TestUnreadable(t *testing.T) {
	t.Parallel()
	k := newKeys(t)
	var buf bytes.Buffer
	w, err := NewWriter(&buf, WriterConfig{Recipients: []string{k.recipient}})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	denied := errors.New("permission denied")
	steps := []error{
		addItem(w, dirItem("a")),
		w.Unreadable(fileItem("a/\x1b[0m", "").Header, job.PermissionDenied, denied),
		addItem(w, dirItem("d")),
		w.Unreadable(dirItem("d").Header, job.PermissionDenied, denied), // its contents
		w.Unreadable(dirItem("e").Header, job.SourceChanged, denied),
	}
	if err := errors.Join(steps...); err != nil {
		t.Fatal(err)
	}
	summary, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	if summary.Content != (Content{Dirs: 2, Errors: 3}) || summary.Complete() {
		t.Errorf("content %+v", summary.Content)
	}
	want := []Problem{{`a/\x1b[0m`, job.PermissionDenied}, {"d", job.PermissionDenied}, {"e", job.SourceChanged}}
	if len(summary.Problems) != 3 || summary.Problems[0] != want[0] || summary.Problems[1] != want[1] || summary.Problems[2] != want[2] {
		t.Errorf("problems %+v, want %+v", summary.Problems, want)
	}
	s := sealed{k, buf.Bytes(), summary}
	report, err := s.check(t)
	if err != nil || report.Content != summary.Content || len(report.Problems) != 3 {
		t.Errorf("check: %+v, %v", report, err)
	}
	if e, err := s.open(t).Lookup("d"); err != nil || !e.Stored() || e.Flags != entry.Unreadable {
		t.Errorf("the directory that could not be listed: %+v, %v", e, err)
	}
	if _, err := s.open(t).OpenFile(context.Background(), "a/\x1b[0m"); !errors.Is(err, ErrNotStored) {
		t.Errorf("open an unreadable file: %v, want ErrNotStored", err)
	}
}

// TestUnreadableLinks: of a link that could not be read the target is not known.
func TestUnreadableLinks(t *testing.T) {
	t.Parallel()
	k := newKeys(t)
	for name, target := range map[string]string{"nothing": "", "a promise": "x", "too much": strings.Repeat("x", MaxPath+1)} {
		var buf bytes.Buffer
		w, err := NewWriter(&buf, WriterConfig{Recipients: []string{k.recipient}})
		if err != nil {
			t.Fatal(err)
		}
		defer w.Abort()
		if err := w.Unreadable(linkItem(entry.Symlink, "link", target).Header, job.PermissionDenied, io.EOF); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if err := addItem(w, fileItem("z", "content")); err != nil {
			t.Fatal(err)
		}
		summary, err := w.Close()
		if err != nil || summary.Content != (Content{Files: 1, Bytes: 7, Errors: 1}) {
			t.Errorf("%s: %+v, %v", name, summary.Content, err)
		}
		s := sealed{k, buf.Bytes(), summary}
		if report, err := s.check(t); err != nil || len(report.Problems) != 1 {
			t.Errorf("%s: check: %+v, %v", name, report, err)
		}
		if e, err := s.open(t).Lookup("link"); err != nil || e.Stored() || e.LinkTarget != "" || e.Kind != entry.Symlink {
			t.Errorf("%s: %+v, %v", name, e, err)
		}
	}
}

func TestProblemsAreBounded(t *testing.T) {
	t.Parallel()
	w := newTestWriter(t, io.Discard)
	for i := range 50 {
		h := fileItem(string(rune('a'+i/26))+string(rune('a'+i%26)), "").Header
		if err := w.Unreadable(h, job.PermissionDenied, io.EOF); err != nil {
			t.Fatal(err)
		}
	}
	summary, err := w.Close()
	if err != nil || summary.Content.Errors != 50 || len(summary.Problems) != maxProblems {
		t.Errorf("%d errors, %d named, %v", summary.Content.Errors, len(summary.Problems), err)
	}
}

// fullDisk takes a while and then nothing more.
type fullDisk struct{ left int }

func (d *fullDisk) Write(p []byte) (int, error) {
	if len(p) > d.left {
		n := d.left
		d.left = 0
		return n, syscall.ENOSPC
	}
	d.left -= len(p)
	return len(p), nil
}

// TestFullDisk fills the disk at every stage: in the header, within the data,
// and in the very last bytes.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	k := newKeys(t)
	items := []item{fileItem("a", noiseString(1, 20<<20)), fileItem("b", noiseString(2, 1<<20))}
	whole := k.write(t, WriterConfig{}, items...)
	for _, room := range []int{0, 100, 300, 5 << 20, len(whole.bytes) - 70_000, len(whole.bytes) - 1} {
		w, err := NewWriter(&fullDisk{room}, WriterConfig{Recipients: []string{k.recipient}})
		for _, it := range items {
			if err == nil {
				err = addItem(w, it)
			}
		}
		if err == nil {
			_, err = w.Close()
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("room for %d bytes of %d: %v, want ENOSPC", room, len(whole.bytes), err)
		}
		if w != nil {
			w.Abort()
		}
	}
}

func TestAbort(t *testing.T) {
	t.Parallel()
	w := newTestWriter(t, io.Discard)
	reading := make(chan struct{})
	release := make(chan struct{})
	added := make(chan error)
	go func() {
		h := entry.Header{Path: "a", Kind: entry.File, Size: 100 << 20}
		_, err := w.Add(context.Background(), h, io.MultiReader(
			io.LimitReader(zeros{}, 50<<20), signal{reading, release}, zeros{}))
		added <- err
	}()
	<-reading
	aborted := make(chan struct{})
	go func() { w.Abort(); close(aborted) }()
	<-w.pipe.stopped
	close(release)
	if err := <-added; err == nil {
		t.Error("Add succeeded in an aborted archive")
	}
	<-aborted
	w.Abort() // again
	if _, err := w.Close(); !errors.Is(err, errAborted) {
		t.Errorf("Close after Abort: %v", err)
	}
}

// signal is an empty body that tells when it is reached and waits.
type signal struct{ reached, release chan struct{} }

func (s signal) Read([]byte) (int, error) {
	close(s.reached)
	<-s.release
	return 0, io.EOF
}

func TestCanceled(t *testing.T) {
	t.Parallel()
	w := newTestWriter(t, io.Discard)
	ctx, cancel := context.WithCancelCause(context.Background())
	why := errors.New("lease lost")
	cancel(why)
	_, err := w.Add(ctx, dirItem("a").Header, nil)
	wantOver(t, w, err, why)
}

func TestWriterConfig(t *testing.T) {
	t.Parallel()
	k := newKeys(t)
	for name, cfg := range map[string]WriterConfig{
		"no recipient": {}, "bad recipient": {Recipients: []string{"age1xyz"}},
		"bad level": {Recipients: []string{k.recipient}, Level: 23},
	} {
		if _, err := NewWriter(io.Discard, cfg); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestProgress(t *testing.T) {
	t.Parallel()
	w := newTestWriter(t, io.Discard)
	if err := addItem(w, fileItem("a", "12345")); err != nil {
		t.Fatal(err)
	}
	if files, bytes := w.Progress(); files != 1 || bytes != 5 {
		t.Errorf("progress %d files, %d bytes", files, bytes)
	}
}
