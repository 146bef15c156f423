package apiclient

import (
	"encoding/json"
	"fmt"

	"xvault/internal/job"
)

// Notes are what is worth knowing of a backup that its status does not say: sentences
// for people.
func (j Job) Notes() (notes []string) {
	var r struct {
		Warnings []string `json:"warnings"`
		Vanished int64    `json:"vanished"`
		Hooks    []struct {
			Hook    string `json:"hook"`
			Error   string `json:"error"`
			Earlier bool   `json:"for_earlier_attempt"`
		} `json:"hooks"`
	}
	if j.Type != job.Backup || len(j.Result) == 0 || json.Unmarshal(j.Result, &r) != nil {
		return nil
	}
	notes = append(notes, r.Warnings...)
	if r.Vanished > 0 {
		notes = append(notes, fmt.Sprintf("%d entries vanished before they could be read and are not in the backup", r.Vanished))
	}
	for _, h := range r.Hooks {
		if h.Error != "" && h.Hook == "after" && !h.Earlier { // a failed before is the job's own error
			notes = append(notes, h.Error)
		}
	}
	return notes
}
