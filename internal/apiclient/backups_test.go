package apiclient

import (
	"encoding/json"
	"slices"
	"testing"

	"xvault/internal/job"
)

func TestNotes(t *testing.T) {
	t.Parallel()
	for result, want := range map[string][]string{
		``:     nil,
		`null`: nil,
		`{}`:   nil,
		`{"warnings":["a","b"],"hooks":[{"hook":"after","for_earlier_attempt":true,"error":"x"},{"hook":"before","error":"y"},{"hook":"after","error":"it failed"}]}`: {"a", "b", "it failed"},
		`{"vanished":2}`: {"2 entries vanished before they could be read and are not in the backup"},
		`{"warnings":1}`: nil,
	} {
		if got := (Job{Type: job.Backup, Result: json.RawMessage(result)}).Notes(); !slices.Equal(got, want) {
			t.Errorf("%s: %q", result, got)
		}
	}
	if got := (Job{Type: job.Probe, Result: json.RawMessage(`{"warnings":["a"]}`)}).Notes(); got != nil {
		t.Errorf("of a probe: %q", got)
	}
}
