package download

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"xvault/archive"
)

// span is a part of a download.
type span struct{ off, n int64 }

// choose reads the Range of a request: one range of bytes, as RFC 9110 has it.
// Several ranges, other units and what is no range at all are passed over, which
// gives the whole. If-Range must name exactly these bytes.
func choose(r *http.Request, size int64, etag string) (span, int) {
	whole := span{0, size}
	header := r.Header.Get("Range")
	if header == "" || r.Method != http.MethodGet {
		return whole, http.StatusOK
	}
	if cond := r.Header.Get("If-Range"); cond != "" && cond != etag {
		return whole, http.StatusOK
	}
	spec, ok := strings.CutPrefix(header, "bytes=")
	first, last, dash := strings.Cut(strings.TrimSpace(spec), "-")
	if !ok || !dash || strings.Contains(spec, ",") {
		return whole, http.StatusOK
	}
	if first == "" {
		n, err := number(last)
		switch {
		case err != nil:
			return whole, http.StatusOK
		case n == 0 || size == 0:
			return span{}, http.StatusRequestedRangeNotSatisfiable
		}
		n = min(n, size)
		return span{size - n, n}, http.StatusPartialContent
	}
	off, err := number(first)
	if err != nil {
		return whole, http.StatusOK
	}
	end := size - 1
	if last != "" {
		named, err := number(last)
		if err != nil || named < off {
			return whole, http.StatusOK
		}
		end = min(end, named)
	}
	if off >= size {
		return span{}, http.StatusRequestedRangeNotSatisfiable
	}
	return span{off, end - off + 1}, http.StatusPartialContent
}

// number reads digits and nothing else.
func number(s string) (int64, error) {
	if s == "" || strings.ContainsFunc(s, func(r rune) bool { return r < '0' || r > '9' }) {
		return 0, errors.New("no number")
	}
	return strconv.ParseInt(s, 10, 64)
}

// sendFile sends a range of a file's content. The content is read from its
// beginning, so that its hash is checked where the range reaches its end; the
// last byte goes out only after that.
func sendFile(ctx context.Context, r *archive.Reader, path string, w io.Writer, off, n int64) (err error) {
	f, err := r.OpenFile(ctx, path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := io.CopyN(io.Discard, f, off); err != nil {
		return early(err)
	}
	if n > 0 {
		if _, err := io.CopyN(w, f, n-1); err != nil {
			return early(err)
		}
	}
	var last [1]byte
	if n > 0 {
		if _, err := io.ReadFull(f, last[:]); err != nil {
			return early(err)
		}
	}
	if off+n == f.Entry.Size {
		if _, err := f.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			return early(err)
		}
	}
	if n == 0 {
		return nil
	}
	_, err = w.Write(last[:])
	return err
}

func early(err error) error {
	if err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: a file has another length than the index says", archive.ErrCorrupt)
	}
	return err
}
