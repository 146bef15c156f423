package bandwidth_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"xvault/internal/bandwidth"
)

func TestTextIsReadAndWritten(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"20MB/s":      `{"limit_bps":20000000}`,
		"1.5 MiB/s":   `{"limit_bps":1572864}`,
		"100Mbit/s":   `{"limit_bps":12500000}`,
		"512k":        `{"limit_bps":512000}`,
		"none":        `{"limit_bps":0}`,
		"unlimited,":  "",
		"5MB/s,6MB/s": "",
		"20MB/s, 08:00-18:00=5MB/s": `{"limit_bps":20000000,` +
			`"windows":[{"from":"08:00","to":"18:00","limit_bps":5000000}]}`,
		"mon-fri 08:00-18:00=5mb, timezone=Europe/Berlin": `{"limit_bps":0,` +
			`"windows":[{"from":"08:00","to":"18:00","days":["mon","tue","wed","thu","fri"],"limit_bps":5000000}],"timezone":"Europe/Berlin"}`,
		"1GB/s, sat+sun 22:00-06:00=none": `{"limit_bps":1000000000,` +
			`"windows":[{"from":"22:00","to":"06:00","days":["sat","sun"],"limit_bps":0}]}`,
		"fri-mon 00:00-24:00=1MB/s": `{"limit_bps":0,` +
			`"windows":[{"from":"00:00","to":"24:00","days":["fri","sat","sun","mon"],"limit_bps":1000000}]}`,
		"":                       "",
		"fast":                   "",
		"-5MB/s":                 "",
		"9kB/s":                  "",
		"NaN":                    "",
		"1e30":                   "",
		"08:00=5MB/s":            "",
		"8-18=5MB/s":             "",
		"08:00-08:00=5MB/s":      "",
		"24:00-08:00=5MB/s":      "",
		"08:00-25:00=5MB/s":      "",
		"moon 08:00-18:00=5MB/s": "",
		"timezone=Local":         "",
		"timezone=Mars/Base":     "",
	} {
		p, err := bandwidth.ParseText(text)
		if want == "" {
			if err == nil {
				t.Errorf("%q was taken as %+v", text, p)
			}
			continue
		}
		got, jsonErr := json.Marshal(p)
		if err != nil || jsonErr != nil || string(got) != want {
			t.Errorf("%q: %s, %v", text, got, err)
			continue
		}
		again, err := bandwidth.ParseText(p.Text())
		if err != nil || again.Text() != p.Text() {
			t.Errorf("%q became %q: %v", text, p.Text(), err)
		}
	}
}

func TestFaultsNameTheirField(t *testing.T) {
	t.Parallel()
	p := bandwidth.Plan{LimitBPS: 5, Timezone: "nowhere", Windows: []bandwidth.Window{
		{From: "08:00", To: "18:00", LimitBPS: 50_000},
		{From: "8:00", To: "08:60", Days: []string{"mon", "Tuesday"}, LimitBPS: -1},
		{From: "08:00", To: "08:00"},
	}}
	var got []string
	for _, f := range p.Check() {
		got = append(got, f.Field)
	}
	want := "limit_bps windows[1].from windows[1].to windows[1].limit_bps windows[1].days[1] windows[2].to timezone"
	if strings.Join(got, " ") != want {
		t.Errorf("%v", got)
	}
}

func TestDecode(t *testing.T) {
	t.Parallel()
	if p, err := bandwidth.Decode(nil); err != nil || !p.IsZero() {
		t.Errorf("%+v, %v", p, err)
	}
	for _, bad := range []string{"[]", `{"limit_bps":1}`, `{"limit_bps":"fast"}`, `{"windows":[{}]}`} {
		if _, err := bandwidth.Decode([]byte(bad)); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
}

// limitAt is what a limiter says at a moment.
func limitAt(t *testing.T, text, moment string) int64 {
	t.Helper()
	p, err := bandwidth.ParseText(text)
	if err != nil {
		t.Fatal(err)
	}
	at, err := time.Parse(time.RFC3339, moment)
	if err != nil {
		t.Fatal(err)
	}
	l, err := bandwidth.NewLimiter(p, func() time.Time { return at })
	if err != nil {
		t.Fatal(err)
	}
	return l.Limit()
}

// Hours are those that the zone's clocks show, also on the days on which these
// change.
func TestHours(t *testing.T) {
	t.Parallel()
	const (
		day    = "9MB/s, 08:00-18:00=1MB/s, timezone=Europe/Berlin"
		early  = "9MB/s, 02:00-03:00=1MB/s, timezone=Europe/Berlin"
		night  = "9MB/s, 22:00-06:00=1MB/s"
		friday = "9MB/s, fri 22:00-06:00=1MB/s"
		first  = "9MB/s, 10:00-12:00=none, 08:00-18:00=1MB/s"
	)
	for _, c := range []struct {
		text, moment string
		want         int64
	}{
		{day, "2026-01-15T06:59:59Z", 9e6}, // winter: 07:59:59
		{day, "2026-01-15T07:00:00Z", 1e6},
		{day, "2026-01-15T16:59:59Z", 1e6},
		{day, "2026-01-15T17:00:00Z", 9e6},
		{day, "2026-07-15T06:00:00Z", 1e6}, // summer: 08:00
		{day, "2026-07-15T16:00:00Z", 9e6},
		// The clocks go from 02:00 to 03:00: the hour between does not exist.
		{early, "2026-03-29T00:59:59Z", 9e6},
		{early, "2026-03-29T01:00:00Z", 9e6},
		{day, "2026-03-29T06:00:00Z", 1e6},
		// And from 03:00 back to 02:00: that hour is shown twice.
		{early, "2026-10-25T00:00:00Z", 1e6},
		{early, "2026-10-25T01:30:00Z", 1e6},
		{early, "2026-10-25T02:00:00Z", 9e6},
		{night, "2026-01-15T21:59:00Z", 9e6},
		{night, "2026-01-15T22:00:00Z", 1e6},
		{night, "2026-01-16T05:59:00Z", 1e6},
		{night, "2026-01-16T06:00:00Z", 9e6},
		{friday, "2026-01-16T23:00:00Z", 1e6}, // a Friday
		{friday, "2026-01-17T05:00:00Z", 1e6}, // what began on Friday
		{friday, "2026-01-16T05:00:00Z", 9e6},
		{friday, "2026-01-17T23:00:00Z", 9e6},
		{first, "2026-01-16T11:00:00Z", 0},
		{first, "2026-01-16T12:00:00Z", 1e6},
	} {
		if got := limitAt(t, c.text, c.moment); got != c.want {
			t.Errorf("%s at %s: %d", c.text, c.moment, got)
		}
	}
}
