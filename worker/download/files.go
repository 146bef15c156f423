package download

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"xvault/archive"
	"xvault/internal/entry"
	"xvault/internal/job"
)

// Limits of one page of a listing.
const (
	defaultPage = 200
	maxPage     = 1000
	// maxScan is how many entries a search looks at for one page: one without
	// hits answers in time, with a cursor to go on from.
	maxScan = 200_000
)

// File is one line of a listing.
type File struct {
	// Path is absolute, as on the source; where it is not UTF-8 it is lossy and
	// PathBase64 holds its bytes.
	Path       string `json:"path"`
	PathBase64 []byte `json:"path_base64,omitempty"`
	Type       string `json:"type"`
	Size       int64  `json:"size"`
	Mode       string `json:"mode,omitempty"` // octal
	// ModTime is missing for folders above the source's paths.
	ModTime    *time.Time `json:"mtime,omitempty"`
	LinkTarget string     `json:"link_target,omitempty"`
	// Stored: its content can be restored. Where it cannot, Code may say why.
	Stored  bool     `json:"stored"`
	Code    job.Code `json:"code,omitempty"`
	Changed bool     `json:"changed_while_read,omitempty"`
}

// Page is a page of a listing.
type Page struct {
	Items      []File `json:"items"`
	NextCursor string `json:"next_cursor"`
}

// query is what a listing is asked for.
type query struct {
	dir    string // as the archive has it
	search string // lower case; empty: what is directly in dir
	after  string
	limit  int
}

func readQuery(v url.Values) (query, error) {
	q := query{limit: defaultPage, search: strings.ToLower(v.Get("search"))}
	wrong := func(field, message string) (query, error) {
		return query{}, &refusal{http.StatusUnprocessableEntity, "validation_failed", field + ": " + message}
	}
	dir := v.Get("path")
	if encoded := v.Get("path_base64"); encoded != "" {
		raw, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil {
			return wrong("path_base64", "it is not base64")
		}
		dir = string(raw)
	}
	if dir != "" {
		if err := job.CheckSourcePath(dir); err != nil {
			return wrong("path", err.Error())
		}
	}
	q.dir = archive.CleanPath(dir)
	if limit := v.Get("limit"); limit != "" {
		n, err := strconv.Atoi(limit)
		if err != nil || n < 1 || n > maxPage {
			return wrong("limit", fmt.Sprintf("it must be between 1 and %d", maxPage))
		}
		q.limit = n
	}
	after, err := base64.RawURLEncoding.DecodeString(v.Get("cursor"))
	if err != nil {
		return wrong("cursor", "it is no cursor of a listing; use next_cursor of the page before")
	}
	q.after = string(after)
	return q, nil
}

// files lists what is in a snapshot.
func (s *Server) files(req *request) error {
	q, err := readQuery(req.r.URL.Query())
	if err != nil {
		return err
	}
	opened, err := s.open(req)
	if err != nil {
		return err
	}
	defer func() {
		if err := opened.Close(); err != nil {
			req.log.Warn("close an artifact", "error", err)
		}
	}()
	page, err := list(req, opened.Reader, q)
	if err != nil {
		return err
	}
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(page); err != nil {
		return err
	}
	req.w.Header().Set("Content-Type", "application/json")
	s.deadline(req.w)
	_, _ = req.w.Write(body.Bytes()) // one who is gone needs no list
	return nil
}

func list(req *request, r *archive.Reader, q query) (Page, error) {
	ctx := req.r.Context()
	var found []archive.Entry
	var next string
	var err error
	if q.search == "" {
		found, err = r.Children(ctx, q.dir, q.after, q.limit)
		if len(found) == q.limit {
			next = found[len(found)-1].Path
		}
	} else {
		found, next, err = r.Search(ctx, q.dir, q.after, q.limit, maxScan, func(e *archive.Entry) bool {
			return strings.Contains(strings.ToLower(e.Path), q.search)
		})
	}
	if err != nil {
		return Page{}, err
	}
	page := Page{Items: make([]File, len(found)), NextCursor: base64.RawURLEncoding.EncodeToString([]byte(next))}
	for i := range found {
		page.Items[i] = fileOf(&found[i])
	}
	return page, nil
}

var kinds = map[entry.Kind]string{
	entry.File: "file", entry.Dir: "dir", entry.Symlink: "symlink", entry.Hardlink: "hardlink",
	entry.Device: "device", entry.FIFO: "fifo", entry.Socket: "socket",
}

func fileOf(e *archive.Entry) File {
	f := File{
		Path: "/" + strings.ToValidUTF8(e.Path, "\uFFFD"), Type: kinds[e.Kind], Size: e.Size,
		LinkTarget: strings.ToValidUTF8(e.LinkTarget, "\uFFFD"), Stored: e.Stored() || e.Kind == entry.Dir, Code: e.Code,
		Changed: e.Flags&entry.ChangedWhileRead != 0,
	}
	if !utf8.ValidString(e.Path) {
		f.PathBase64 = []byte("/" + e.Path)
	}
	if !e.ModTime.IsZero() {
		f.Mode = fmt.Sprintf("%04o", e.Mode)
		f.ModTime = &e.ModTime
	}
	return f
}
