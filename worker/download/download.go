package download

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"

	"xvault/archive"
	"xvault/internal/job"
	"xvault/internal/ticket"
	"xvault/store/blob"
	"xvault/worker/artifact"
)

// content is what a download sends. Where size is not negative it is settled
// beforehand, and any range of it can be had.
type content struct {
	size int64
	send func(ctx context.Context, w io.Writer, off, n int64) error
	name string
	kind string // its media type
}

// download sends restored files.
func (s *Server) download(req *request) error {
	opened, err := s.open(req)
	if err != nil {
		return err
	}
	defer func() {
		if err := opened.Close(); err != nil {
			req.log.Warn("close an artifact", "error", err)
		}
	}()
	c, err := contentOf(req.r.Context(), opened.Reader, req.good)
	if err != nil {
		return err
	}
	h := req.w.Header()
	h.Set("Content-Type", c.kind)
	h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": c.name}))
	h.Set("ETag", etag(req.good))
	if c.size < 0 {
		h.Set("Accept-Ranges", "none")
		return s.transfer(req, c, span{0, -1})
	}
	h.Set("Accept-Ranges", "bytes")
	part, status := choose(req.r, c.size, h.Get("ETag"))
	if status == http.StatusRequestedRangeNotSatisfiable {
		refuse(req.w, &refusal{status, "range_not_satisfiable", fmt.Sprintf("The download has %d bytes.", c.size)}, "Content-Range", fmt.Sprintf("bytes */%d", c.size))
		return nil
	}
	if status == http.StatusPartialContent {
		h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", part.off, part.off+part.n-1, c.size))
	}
	h.Set("Content-Length", strconv.FormatInt(part.n, 10))
	req.w.WriteHeader(status)
	return s.transfer(req, c, part)
}

// open opens the artifact of a request with the identity that came for it.
func (s *Server) open(req *request) (*artifact.Artifact, error) {
	store, err := s.cfg.Store()
	if err != nil {
		return nil, err
	}
	good := req.good
	opened, err := artifact.Open(req.r.Context(), store, artifact.Request{
		Key:      blob.Key{TenantID: good.TenantID, SourceID: good.SourceID, SnapshotID: good.SnapshotID},
		Snapshot: good.Snapshot, Sealed: good.SealedIdentity, Worker: s.cfg.Identity, Budget: s.cfg.Budget,
	})
	req.good.SealedIdentity = nil
	return opened, err
}

// transfer sends the bytes. From here on the answer has begun: whatever goes
// wrong breaks the connection, so that nobody takes what arrived for the whole.
func (s *Server) transfer(req *request, c content, part span) error {
	if req.r.Method == http.MethodHead {
		return nil
	}
	out := &pacedWriter{s: s, w: req.w}
	began := s.cfg.Now()
	err := c.send(req.r.Context(), out, part.off, part.n)
	log := req.log.With("bytes", out.sent, "of", part.n, "from", part.off, "took_ms", s.cfg.Now().Sub(began).Milliseconds(), "client", client(req.r))
	switch {
	case err == nil:
		log.Info("download sent")
		return nil
	case out.err != nil || req.r.Context().Err() != nil:
		log.Info("download cut off by its reader", "error", err)
	default:
		log.Error("download broken off", "error", artifact.Explain(err))
	}
	panic(http.ErrAbortHandler)
}

// pieceSize is what is written at once: for each the reader has Config.Stall.
const pieceSize = 256 << 10

// pacedWriter sends, and remembers whether it could.
type pacedWriter struct {
	s    *Server
	w    http.ResponseWriter
	sent int64
	err  error
}

func (p *pacedWriter) Write(b []byte) (int, error) {
	done := 0
	for done < len(b) {
		p.s.deadline(p.w)
		n, err := p.w.Write(b[done:min(done+pieceSize, len(b))])
		done += n
		p.sent += int64(n)
		if err != nil {
			p.err = err
			return done, err
		}
	}
	return done, nil
}

// contentOf prepares what a ticket gives.
func contentOf(ctx context.Context, r *archive.Reader, good job.RedeemResponse) (content, error) {
	members := good.Restore.Members()
	c := content{size: -1, name: fileName(good, members), kind: mediaTypes[good.Restore.Format]}
	switch good.Restore.Format {
	case job.FormatTar, job.FormatTarZst:
		x, err := r.Export(ctx, members, archive.ExportOptions{Zstd: good.Restore.Format == job.FormatTarZst})
		if err != nil {
			return content{}, err
		}
		c.size, c.send = x.Size(), x.WriteRange
	case job.FormatZip:
		c.send = func(ctx context.Context, w io.Writer, _, _ int64) error { return r.WriteZip(ctx, w, members) }
	case job.FormatFile:
		f, err := r.OpenFile(ctx, members[0])
		if err != nil {
			return content{}, err
		}
		c.size = f.Entry.Size
		c.send = func(ctx context.Context, w io.Writer, off, n int64) error {
			return sendFile(ctx, r, members[0], w, off, n)
		}
		return c, f.Close()
	default:
		return content{}, fmt.Errorf("format %q is not known", good.Restore.Format)
	}
	return c, nil
}

var mediaTypes = map[job.RestoreFormat]string{
	job.FormatTar: "application/x-tar", job.FormatTarZst: "application/zstd", job.FormatZip: "application/zip",
	job.FormatFile: "application/octet-stream",
}

// fileName suggests how to keep a download.
func fileName(good job.RedeemResponse, members []string) string {
	name := "snapshot-" + good.SnapshotID.String()
	if len(members) == 1 && members[0] != "" {
		name = strings.ToValidUTF8(path.Base(members[0]), "_")
	}
	if good.Restore.Format == job.FormatFile {
		return name
	}
	return name + "." + string(good.Restore.Format)
}

// etag names the bytes of a download: the same artifact, the same selection and
// the same format give the same ones.
func etag(good job.RedeemResponse) string {
	h := sha256.New()
	selection := ticket.Select(good.Restore)
	// The number goes up with every change in how exports are made.
	_, _ = fmt.Fprintf(h, "export 1 %s %x", good.Snapshot.SHA256, selection) // a hash takes everything
	return `"` + hex.EncodeToString(h.Sum(nil)[:16]) + `"`
}
