package ssh_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"xvault/archive"
	"xvault/archive/seal"
	"xvault/connectors"
	"xvault/internal/entry"
	"xvault/internal/testenv"
)

// bySFTP sets aside what SFTP cannot see: parts of seconds, and times that its 32 bits
// do not hold; the names of owners; that names are of one file; extended attributes.
type bySFTP struct {
	content map[string][]byte // of files that may have other names
}

// item gives what SFTP shows of one entry.
func (o bySFTP) item(item connectors.Item) (entry.Header, io.Reader, error) {
	h, body := item.Header, item.Body
	h.ModTime = time.Unix(int64(uint32(h.ModTime.Unix())), 0)
	h.User, h.Group, h.Xattrs = "", "", nil
	switch {
	case h.Kind == entry.Hardlink:
		content, ok := o.content[h.LinkTarget]
		if !ok {
			return h, nil, fmt.Errorf("%q is another name of %q, which was no small file", h.Path, h.LinkTarget)
		}
		h.Kind, h.LinkTarget, h.Size, body = entry.File, "", int64(len(content)), bytes.NewReader(content)
	case h.Kind == entry.File && h.Size < 1<<10:
		content, err := io.ReadAll(body)
		if err != nil {
			return h, nil, fmt.Errorf("%q: %w", h.Path, err)
		}
		o.content[h.Path], body = content, bytes.NewReader(content)
	}
	return h, body, nil
}

// tarOf makes an artifact of a source, as SFTP would show it, and gives the tar in it, as
// the stock tools do, and what the archive says of itself.
func tarOf(t *testing.T, src connectors.Source) ([]byte, archive.Summary) {
	t.Helper()
	identity, recipient, err := seal.NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	dir := testenv.Dir(t)
	artifact, key := filepath.Join(dir, archive.ArtifactName), filepath.Join(dir, "key.txt")
	out, err := os.Create(artifact)
	if err != nil {
		t.Fatal(err)
	}
	w, err := archive.NewWriter(out, archive.WriterConfig{Recipients: []string{recipient}, Level: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	set := bySFTP{map[string][]byte{}}
	err = src.Read(t.Context(), func(item connectors.Item) error {
		if item.Err != nil {
			return item.Err
		}
		if item.Vanished {
			return fmt.Errorf("%q is gone", item.Path)
		}
		h, body, err := set.item(item)
		switch {
		case err != nil:
			return err
		case h.Kind == entry.FIFO || h.Kind == entry.Socket || h.Kind == entry.Device:
			return w.Skip(h)
		}
		stored, err := w.Add(t.Context(), h, body)
		return errors.Join(err, stored.Err)
	})
	if err != nil {
		t.Fatal(err)
	}
	summary, err := w.Close()
	if err := errors.Join(err, out.Close(), os.WriteFile(key, []byte(identity.Reveal()+"\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("bash", "-c", `set -o pipefail; age -d -i "$1" "$2" | zstd -dqc`, "-", key, artifact)
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	opened, err := cmd.Output()
	if err != nil || complaints.Len() > 0 {
		t.Fatalf("age -d | zstd -d: %v\n%s", err, &complaints)
	}
	return opened, summary
}
