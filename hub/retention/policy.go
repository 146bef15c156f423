package retention

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Policy says how many snapshots of each sort to keep. Zero fields do not ask
// for any. Its JSON is that of the API and of the catalog, zero fields left out.
type Policy struct {
	// KeepLast keeps the newest good snapshots, whenever they were made.
	KeepLast int `json:"keep_last,omitempty"`
	// KeepHourly to KeepYearly keep the newest good snapshot of each of so many
	// periods that have one.
	KeepHourly  int `json:"keep_hourly,omitempty"`
	KeepDaily   int `json:"keep_daily,omitempty"`
	KeepWeekly  int `json:"keep_weekly,omitempty"`
	KeepMonthly int `json:"keep_monthly,omitempty"`
	KeepYearly  int `json:"keep_yearly,omitempty"`
	// KeepWithin keeps every good snapshot that is younger than the newest good
	// one by less than this span: "1y6m7d12h".
	KeepWithin Span `json:"keep_within,omitzero"`
	// MinKeep is how many good snapshots stay, whatever else is said. It is a
	// floor, no rule: alone it removes nothing.
	MinKeep int `json:"min_keep,omitempty"`
}

// MaxCount bounds every number of a policy.
const MaxCount = 100_000

// Empty reports whether there is no rule, so that nothing is ever removed.
func (p Policy) Empty() bool {
	p.MinKeep = 0
	return p == Policy{}
}

// FieldError is what is wrong with one field of a policy. Field is empty where
// it is the policy as a whole.
type FieldError struct{ Field, Message string }

// PolicyError lists everything that is wrong with a policy.
type PolicyError []FieldError

func (e PolicyError) Error() string {
	var b strings.Builder
	b.WriteString("the retention policy is not valid")
	for _, f := range e {
		fmt.Fprintf(&b, "; %s: %s", f.Field, f.Message)
	}
	return b.String()
}

// ParsePolicy reads the JSON form of a policy; nothing, null and {} are the
// empty one. A number may be left out, null, or 0 to MaxCount. An error is a
// PolicyError, which names each field.
func ParsePolicy(raw []byte) (Policy, error) {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 || string(raw) == "null" {
		return Policy{}, nil
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil {
		return Policy{}, PolicyError{{Message: "it must be an object"}}
	}
	var p Policy
	counts := countsOf(&p)
	var faults PolicyError
	for name, value := range fields {
		var message string
		if count, known := counts[name]; known {
			*count, message = parseCount(value)
		} else if name == "keep_within" {
			p.KeepWithin, message = parseSpanJSON(value)
		} else {
			message = "there is no such rule; the rules are " + strings.Join(ruleNames(), ", ")
		}
		if message != "" {
			faults = append(faults, FieldError{Field: name, Message: message})
		}
	}
	if len(faults) > 0 {
		slices.SortFunc(faults, func(a, b FieldError) int { return strings.Compare(a.Field, b.Field) })
		return Policy{}, faults
	}
	return p, nil
}

func countsOf(p *Policy) map[string]*int {
	return map[string]*int{
		"keep_last": &p.KeepLast, "keep_hourly": &p.KeepHourly, "keep_daily": &p.KeepDaily, "keep_weekly": &p.KeepWeekly,
		"keep_monthly": &p.KeepMonthly, "keep_yearly": &p.KeepYearly, "min_keep": &p.MinKeep,
	}
}

func ruleNames() []string {
	return []string{"keep_last", "keep_hourly", "keep_daily", "keep_weekly", "keep_monthly", "keep_yearly", "keep_within", "min_keep"}
}

// parseCount gives what is wrong with the value, or an empty message.
func parseCount(value json.RawMessage) (n int, message string) {
	if string(value) == "null" {
		return 0, ""
	}
	var number *int
	if err := json.Unmarshal(value, &number); err != nil || *number < 0 || *number > MaxCount {
		return 0, fmt.Sprintf("it must be a whole number from 0 to %d", MaxCount)
	}
	return *number, ""
}

func parseSpanJSON(value json.RawMessage) (Span, string) {
	if string(value) == "null" {
		return Span{}, ""
	}
	var text string
	if err := json.Unmarshal(value, &text); err != nil {
		return Span{}, spanForm
	}
	span, err := ParseSpan(text)
	if err != nil {
		return Span{}, err.Error()
	}
	return span, ""
}
