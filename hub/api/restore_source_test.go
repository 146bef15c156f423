package api_test

import (
	"net/http"
	"testing"
)

// What is wrong with a request is told by its field, and what cannot be done by its
// code. That it is done is tried with a whole system.
func TestRestoreToASourceIsChecked(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	a, b := d.account("a"), d.account("b")
	backup, snapshot := d.backUp(a, d.worker("w1"))
	path := "/snapshots/" + snapshot.String() + "/restore"
	for location, body := range map[string]map[string]any{
		"body.confirm":          {"destination": "source", "existing": "overwrite"},
		"body.target_path":      {"destination": "source", "target_path": "relative"},
		"body.format":           {"destination": "source", "format": "zip"},
		"body.destination":      {"destination": "elsewhere"},
		"body.existing":         {"existing": "skip"},
		"body.target_source_id": {"target_source_id": a.source},
		"body.paths[0]":         {"destination": "source", "paths": []string{"relative"}},
		"body.url":              {"destination": "source", "url": "https://a.example/?q"},
		"body.database":         {"database": "a"},
	} {
		a.post(path, body).names(location)
	}
	a.post(path, map[string]any{"destination": "source", "existing": "newer"}).names("body.confirm")
	a.post(path, map[string]any{"destination": "source", "target_path": "/a/../b"}).names("body.target_path")

	whole := map[string]any{"destination": "source", "existing": "overwrite", "confirm": true}
	b.post(path, whole).refused(http.StatusNotFound, "not_found")
	whole["target_source_id"] = b.source
	a.post(path, whole).refused(http.StatusNotFound, "not_found")
	delete(whole, "target_source_id")
	// This hub knows no type that can be written to.
	a.post(path, whole).refused(http.StatusConflict, "source_not_writable")
	a.post("/jobs/"+backup.String()+"/restore", whole).refused(http.StatusConflict, "source_not_writable")
}
