package api

import (
	"encoding/json"

	"github.com/danielgtaylor/huma/v2"

	"xvault/hub/problem"
	"xvault/internal/bandwidth"
)

// Bandwidth limits how many bytes a second pass between worker and source.
type Bandwidth struct {
	LimitBPS int64             `json:"limit_bps,omitempty" minimum:"0" doc:"Bytes a second, both directions together, outside of all windows; 0: no limit"`
	Windows  []BandwidthWindow `json:"windows,omitempty" nullable:"false" maxItems:"50" doc:"Hours with a limit of their own; the first one that holds counts"`
	Timezone string            `json:"timezone,omitempty" maxLength:"64" example:"Europe/Berlin" doc:"IANA time zone of the windows; UTC if not given"`
}

// BandwidthWindow is a part of the day.
type BandwidthWindow struct {
	From     string   `json:"from" example:"08:00" doc:"When it begins, as the zone's clocks show it"`
	To       string   `json:"to" example:"18:00" doc:"When it ends, up to 24:00; if it is before from, the window lasts into the next day"`
	Days     []string `json:"days,omitempty" nullable:"false" enum:"mon,tue,wed,thu,fri,sat,sun" doc:"On which it begins; every day if none is given"`
	LimitBPS int64    `json:"limit_bps" minimum:"0" doc:"Bytes a second; 0: no limit"`
}

// BandwidthChange is the limit of a PATCH: null removes it, and so does an empty
// object.
type BandwidthChange struct {
	Bandwidth
	given bool
}

// UnmarshalJSON notes that it was there.
func (c *BandwidthChange) UnmarshalJSON(raw []byte) error {
	c.given = true
	return json.Unmarshal(raw, &c.Bandwidth) // which null leaves empty
}

// Schema says that it may be null.
func (BandwidthChange) Schema(r huma.Registry) *huma.Schema {
	type fields Bandwidth
	return nullable[fields](r)
}

func bandwidthOf(stored json.RawMessage) *Bandwidth {
	var b *Bandwidth
	if stored != nil {
		// It was checked before it was stored.
		_ = json.Unmarshal(stored, &b)
	}
	return b
}

// plan checks a limit and gives what is stored: nil where nothing is limited.
func (b *Bandwidth) plan() (json.RawMessage, error) {
	p := bandwidth.Plan{LimitBPS: b.LimitBPS, Timezone: b.Timezone}
	for _, w := range b.Windows {
		p.Windows = append(p.Windows, bandwidth.Window(w))
	}
	if faults := p.Check(); len(faults) > 0 {
		errs := make([]problem.FieldError, len(faults))
		for i, fault := range faults {
			errs[i] = problem.FieldError{Location: "body.bandwidth." + fault.Field, Message: fault.Message}
		}
		return nil, problem.Validation(errs...)
	}
	if p.IsZero() {
		return nil, nil
	}
	return json.Marshal(p)
}
