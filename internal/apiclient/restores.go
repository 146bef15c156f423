package apiclient

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// NewRestore says what of a snapshot is wanted, and how; all of it is optional.
type NewRestore struct {
	Paths       []string `json:"paths,omitempty"`
	PathsBase64 [][]byte `json:"paths_base64,omitempty"` // those that are not UTF-8
	Format      string   `json:"format,omitempty"`       // "tar", "tar.zst", "zip" or "file"
	// The rest is of a restore to a source.
	Destination    string `json:"destination,omitempty"`
	TargetPath     string `json:"target_path,omitempty"`
	TargetSourceID string `json:"target_source_id,omitempty"`
	Existing       string `json:"existing,omitempty"` // "skip", "overwrite" or "newer"
	URL            string `json:"url,omitempty"`      // of a web site: where it moves to
	Database       string `json:"database,omitempty"` // of a web site: where its dump goes
	Confirm        bool   `json:"confirm,omitempty"`
}

// Written is the result of a restore to a source, whether it completed or failed.
type Written struct {
	Destination    string           `json:"destination"`
	Files          int64            `json:"files"`
	Dirs           int64            `json:"dirs"`
	Links          int64            `json:"links"`
	Bytes          int64            `json:"bytes"`
	Overwritten    int64            `json:"overwritten"`
	Skipped        int64            `json:"skipped"`
	Unchanged      int64            `json:"unchanged"`
	Failed         int64            `json:"failed"`
	OwnersLost     int64            `json:"owners_lost"`
	AttributesLost int64            `json:"attributes_lost"`
	Incomplete     int64            `json:"incomplete"`
	Notes          []string         `json:"notes"`
	Warnings       []WrittenWarning `json:"warnings"`
}

// WrittenWarning is an entry that is not restored, or not as it was.
type WrittenWarning struct {
	Path    string `json:"path"` // escaped
	Code    string `json:"code"`
	Message string `json:"message"`
}

// Written reads what a restore to a source did; nil for every other job, and for
// one that has not come to its end.
func (j Job) Written() (*Written, error) {
	if len(j.Result) == 0 {
		return nil, nil
	}
	var w Written
	if err := json.Unmarshal(j.Result, &w); err != nil {
		return nil, fmt.Errorf("decode result of job %s: %w", j.ID, err)
	}
	if w.Destination != "source" {
		return nil, nil
	}
	return &w, nil
}

// Download is the result of a restore: where its files are.
type Download struct {
	Format    string    `json:"format"`
	Files     int64     `json:"files"`
	Dirs      int64     `json:"dirs"`
	Links     int64     `json:"links"`
	Bytes     int64     `json:"bytes"`
	Errors    int64     `json:"errors"`     // entries that the snapshot has by name only, or not whole
	SizeBytes int64     `json:"size_bytes"` // of the download; 0 where it is not settled
	URL       string    `json:"download_url"`
	ExpiresAt time.Time `json:"expires_at"`
}

// Restore asks for a download of a snapshot.
func (c *Client) Restore(ctx context.Context, snapshotID string, r NewRestore) (Item[Job], error) {
	return c.Jobs().decode(c.call(ctx, http.MethodPost, c.Snapshots().of(snapshotID)+"/restore", nil, r))
}

// Download reads what a restore that completed says of its files.
func (j Job) Download() (Download, error) {
	var d Download
	if err := json.Unmarshal(j.Result, &d); err != nil {
		return Download{}, fmt.Errorf("decode result of job %s: %w", j.ID, err)
	}
	return d, nil
}

// FilesAddress gives an address, on a worker, that lists a snapshot's files.
func (c *Client) FilesAddress(ctx context.Context, snapshotID string) (string, error) {
	raw, err := c.call(ctx, http.MethodGet, c.Snapshots().of(snapshotID)+"/files", url.Values{}, nil)
	if err != nil {
		return "", err
	}
	var answer struct {
		URL string `json:"url"`
	}
	if err := json.Unmarshal(raw, &answer); err != nil {
		return "", fmt.Errorf("decode address of files: %w", err)
	}
	return answer.URL, nil
}
