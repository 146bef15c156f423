package system

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// Download is what a restore that completed says of where its files are.
type Download struct {
	JobID     string
	URL       string    `json:"download_url"`
	ExpiresAt time.Time `json:"expires_at"`
	RevokedAt string    `json:"revoked_at"`
	SizeBytes int64     `json:"size_bytes"`
	Files     int64     `json:"files"`
}

// StartRestore posts a restore; without a body, of everything.
func (c *Client) StartRestore(t testing.TB, snapshotID string, body map[string]any) Job {
	t.Helper()
	if body == nil {
		body = map[string]any{}
	}
	return Post[Job](t, c, "/api/v1/snapshots/"+snapshotID+"/restore", body)
}

// DownloadOf reads a completed restore's result.
func (c *Client) DownloadOf(t testing.TB, jobID string) Download {
	t.Helper()
	j := c.Job(t, jobID)
	d := Download{JobID: jobID}
	if err := json.Unmarshal(j.Result, &d); err != nil {
		t.Fatalf("result of %s: %v in %s", j, err, j.Result)
	}
	return d
}

// MustRestore restores and gives the download.
func (s *Scene) MustRestore(snapshotID string, body map[string]any) Download {
	s.t.Helper()
	j := s.API.StartRestore(s.t, snapshotID, body)
	s.MustComplete(j.ID, 3*time.Minute)
	d := s.API.DownloadOf(s.t, j.ID)
	if d.URL == "" {
		s.t.Fatalf("restore %s has no download_url", j.ID)
	}
	return d
}

// ListenAddr is where a worker serves downloads.
func (w *Worker) ListenAddr() string { return fmt.Sprintf("127.0.0.1:%d", w.port) }

// Fetch gets an address, with headers in pairs.
func Fetch(t testing.TB, url string, header ...string) (*http.Response, []byte, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Minute}
	resp, err := client.Do(req)
	if err != nil {
		return nil, nil, err
	}
	body, err := io.ReadAll(resp.Body)
	if cerr := resp.Body.Close(); err == nil {
		err = cerr
	}
	return resp, body, err
}

// MustFetch gets an address that must answer with this status.
func MustFetch(t testing.TB, url string, status int, header ...string) (*http.Response, []byte) {
	t.Helper()
	resp, body, err := Fetch(t, url, header...)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != status {
		t.Fatalf("answered with %s, want %d: %.500s", resp.Status, status, body)
	}
	return resp, body
}

// Refused expects a problem with one of these statuses, and gives its code.
func Refused(t testing.TB, what, url string, statuses ...int) string {
	t.Helper()
	resp, body, err := Fetch(t, url)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	var problem struct {
		Status              int
		Code, Title, Detail string
	}
	if err := json.Unmarshal(body, &problem); err != nil || resp.Header.Get("Content-Type") != "application/problem+json" {
		t.Fatalf("%s: %s is no problem: %.300s", what, resp.Status, body)
	}
	for _, status := range statuses {
		if resp.StatusCode == status && problem.Status == status && problem.Code != "" && problem.Title != "" && problem.Detail != "" {
			return problem.Code
		}
	}
	t.Errorf("%s: answered with %s %s, want %v", what, resp.Status, body, statuses)
	return problem.Code
}

// Untar has stock tools extract a download; decode is what comes before tar,
// "cat" or "zstd -dq".
func Untar(t testing.TB, stream []byte, decode string) string {
	t.Helper()
	dir := t.TempDir()
	file, out := filepath.Join(dir, "stream"), filepath.Join(dir, "out")
	if err := os.WriteFile(file, stream, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(out, 0o700); err != nil {
		t.Fatal(err)
	}
	script := fmt.Sprintf(`set -euo pipefail; %s < "$1" | tar -x -p --numeric-owner -C "$2"`, decode)
	if b, err := exec.Command("bash", "-c", script, "untar", file, out).CombinedOutput(); err != nil || len(b) > 0 {
		t.Fatalf("tar: %v\n%s", err, b)
	}
	return out
}
