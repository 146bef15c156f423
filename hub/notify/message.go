package notify

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/google/uuid"

	"xvault/store/catalog"
)

// Message is what a person is told.
type Message struct {
	ID      string // the same in every attempt
	Problem bool   // false: all is well, or well again
	Title   string // one line
	What    string // what happened, and what to do
	Now     time.Time
	Signal  catalog.Signal
}

// testKind is that of the message that tries a channel out; no event has it.
const testKind = "test"

// messageOf puts a notification into words.
func messageOf(n catalog.Notification) Message {
	m := wordsOf(n.Signal)
	m.ID = n.ID.String()
	m.Now = n.UpdatedAt // of this attempt's claim, by the catalog's clock
	return m
}

// testMessage tries a channel out.
func testMessage(now time.Time) Message {
	return Message{
		ID: catalog.NewID().String(), Title: "A test of this notification channel", Now: now,
		What:   "Someone asked xVault to try this channel out. That you read this means that it works.",
		Signal: catalog.Signal{ID: catalog.NewID(), Kind: testKind, CreatedAt: now},
	}
}

// detail is what events say beside their ids; each kind has some of it.
type detail struct {
	JobType        string     `json:"job_type"`
	ErrorCode      string     `json:"error_code"`
	ErrorMessage   string     `json:"error_message"`
	Reason         string     `json:"reason"`
	Slot           time.Time  `json:"slot"`
	Through        time.Time  `json:"through"`
	Since          time.Time  `json:"since"`
	LastSeenAt     time.Time  `json:"last_seen_at"`
	LastGoodAt     *time.Time `json:"last_good_at"`
	MaxAgeHours    int64      `json:"max_age_hours"`
	DiskFreeBytes  int64      `json:"disk_free_bytes"`
	DiskTotalBytes int64      `json:"disk_total_bytes"`
	SizeBytes      int64      `json:"size_bytes"`
	DurationMS     int64      `json:"duration_ms"`
}

func wordsOf(s catalog.Signal) Message {
	var d detail
	_ = json.Unmarshal(s.Detail, &d) // what is not there is left out
	source := quoted(s.SourceName, s.SourceID)
	worker := ""
	if s.WorkerID != nil {
		worker = *s.WorkerID
	}
	m := Message{Problem: slices.Contains(problems(), s.Kind), Signal: s}
	switch s.Kind {
	case catalog.EventJobFailed:
		m.Title = "The " + jobWord(d.JobType) + " of " + source + " failed"
		m.What = sentence(d.ErrorMessage) + "\nIt is not tried again by itself. Look at the job, mend the cause, and start it anew."
	case catalog.EventSuspicious:
		m.Title = "A snapshot of " + source + " is suspicious"
		m.What = sentence(d.Reason) + "\nIt is kept and does not count as good. Look whether the source is right; if it is, accept the snapshot."
	case catalog.EventCorrupt:
		m.Title = "A snapshot of " + source + " is corrupt"
		m.What = sentence(d.Reason) + "\nIt does not count as good any more. Look at the worker's disk, and make sure that a new backup succeeds."
	case catalog.EventSlotMissed:
		m.Title = "A scheduled backup of " + source + " was missed"
		m.What = "No hub was running at " + at(d.Slot) + through(d.Slot, d.Through) + ". A later backup stands for it; make sure that it succeeds."
	case catalog.EventSlotSkipped:
		m.Title = "A scheduled backup of " + source + " was skipped"
		m.What = "The backup before had not ended at " + at(d.Slot) + ". Give the schedule more time between backups, or look why this one takes so long. " +
			"Further times that it takes up are not told of."
	case catalog.EventRecovered:
		m.Title = "The backups of " + source + " work again"
		m.What = "A backup succeeded; something was wrong since " + at(d.Since) + "."
	case catalog.EventSucceeded:
		m.Title = "The backup of " + source + " succeeded"
		m.What = fmt.Sprintf("It took %s, and its artifact has %d bytes.", duration(d.DurationMS), d.SizeBytes)
	case catalog.EventMaxAgeExceeded:
		m.Title = "No backup of " + source + " succeeded in time"
		m.What = "The objective is a good backup every " + fmt.Sprintf("%d h", d.MaxAgeHours) + "; " + lastGood(d.LastGoodAt) +
			" Look at the source's jobs and schedules."
	case catalog.EventMaxAgeOK:
		m.Title = "The last backup of " + source + " is recent enough again"
		m.What = "It was not since " + at(d.Since) + "."
	default:
		m.aboutWorker(worker, d)
	}
	m.Title = oneLine(m.Title)
	return m
}

// aboutWorker has the words for what concerns no source.
func (m *Message) aboutWorker(worker string, d detail) {
	switch m.Signal.Kind {
	case catalog.EventWorkerOffline:
		m.Title = "The worker " + worker + " is offline"
		m.What = "It was last heard of at " + at(d.LastSeenAt) + ". Its jobs go to others where they can; what only it can do waits. Look at its machine and its log."
	case catalog.EventWorkerBack:
		m.Title = "The worker " + worker + " is back"
		m.What = "It was away since " + at(d.Since) + "."
	case catalog.EventStorageNearlyFull:
		m.Title = "The storage of worker " + worker + " is nearly full"
		m.What = room(d) + " Backups fail when it is full: remove snapshots, keep fewer of them, or add storage."
	case catalog.EventStorageOK:
		m.Title = "The storage of worker " + worker + " has room again"
		m.What = room(d)
	default: // of a newer release
		m.Title = "xVault: " + m.Signal.Kind
		m.What = "Something happened that this hub has no words for."
	}
}

// Text is the message for people to read.
func (m *Message) Text() string {
	lines := []string{m.Title, "", clean(m.What)}
	facts := m.facts()
	if len(facts) > 0 {
		lines = append(lines, "")
	}
	for _, f := range facts {
		lines = append(lines, f[0]+": "+oneLine(f[1]))
	}
	return strings.Join(lines, "\n")
}

func (m *Message) facts() [][2]string {
	s := m.Signal
	var facts [][2]string
	add := func(name string, id *uuid.UUID, label string) {
		if id == nil {
			return
		}
		if label != "" {
			facts = append(facts, [2]string{name, label + " (" + id.String() + ")"})
			return
		}
		facts = append(facts, [2]string{name, id.String()})
	}
	add("Tenant", s.TenantID, s.TenantName)
	add("Source", s.SourceID, s.SourceName)
	add("Job", s.JobID, "")
	add("Snapshot", s.SnapshotID, "")
	if s.WorkerID != nil {
		facts = append(facts, [2]string{"Worker", *s.WorkerID})
	}
	var d detail
	if json.Unmarshal(s.Detail, &d) == nil && d.ErrorCode != "" {
		facts = append(facts, [2]string{"Error code", d.ErrorCode})
	}
	return append(facts, [2]string{"Event", s.Kind + " " + s.ID.String()}, [2]string{"Time", at(s.CreatedAt)})
}

// payload is the message for programs to read.
func (m *Message) payload() map[string]any {
	s := m.Signal
	severity := "ok"
	if m.Problem {
		severity = "problem"
	}
	data := map[string]any{
		"event_id": s.ID, "severity": severity, "title": m.Title, "text": clean(m.What),
		"tenant_id": s.TenantID, "tenant_name": s.TenantName, "source_id": s.SourceID, "source_name": s.SourceName,
		"job_id": s.JobID, "snapshot_id": s.SnapshotID, "worker_id": s.WorkerID, "detail": s.Detail,
	}
	if len(s.Detail) == 0 {
		data["detail"] = struct{}{}
	}
	return map[string]any{"type": s.Kind, "timestamp": s.CreatedAt.UTC(), "data": data}
}

func jobWord(kind string) string {
	switch kind {
	case "delete_snapshot":
		return "deletion of a snapshot"
	case "verify":
		return "verification"
	case "restore", "backup":
		return kind
	}
	return "job"
}

func quoted(name string, id *uuid.UUID) string {
	switch {
	case name != "":
		return `"` + shortened(oneLine(name), 100) + `"`
	case id != nil:
		return "source " + id.String()
	}
	return "a source"
}

func at(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

func through(from, to time.Time) string {
	if !to.After(from) {
		return ""
	}
	return " and until " + at(to)
}

func lastGood(t *time.Time) string {
	if t == nil {
		return "there has been none yet."
	}
	return "the last one is from " + at(*t) + "."
}

func duration(ms int64) string {
	d := time.Duration(ms) * time.Millisecond
	if d < time.Minute {
		return d.Round(100 * time.Millisecond).String()
	}
	minutes := int64(d.Round(time.Minute) / time.Minute)
	switch h, m := minutes/60, minutes%60; {
	case h == 0:
		return fmt.Sprintf("%d min", m)
	case m == 0:
		return fmt.Sprintf("%d h", h)
	default:
		return fmt.Sprintf("%d h %d min", h, m)
	}
}

func room(d detail) string {
	if d.DiskTotalBytes <= 0 {
		return ""
	}
	return fmt.Sprintf("%d GB of %d GB are free (%d %%).", d.DiskFreeBytes/1e9, d.DiskTotalBytes/1e9,
		int(100*float64(d.DiskFreeBytes)/float64(d.DiskTotalBytes)))
}

func sentence(text string) string {
	text = strings.TrimSpace(text)
	if text == "" {
		return "No reason was given."
	}
	return text
}

// oneLine keeps a text that someone typed, or a server sent, in its line.
func oneLine(text string) string { return strings.ReplaceAll(clean(text), "\n", " ") }

// clean takes out what terminals and mail programs act on: control characters,
// and those that turn the direction of text.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n':
			return r
		case unicode.IsControl(r), unicode.Is(unicode.Cf, r), unicode.Is(unicode.Zl, r), unicode.Is(unicode.Zp, r), unicode.Is(unicode.Co, r):
			return '\uFFFD'
		}
		return r
	}, strings.ToValidUTF8(text, "\uFFFD"))
}

// shortened cuts a text to so many bytes, between characters.
func shortened(text string, most int) string {
	if len(text) <= most {
		return text
	}
	const more = "..."
	return strings.ToValidUTF8(text[:most-len(more)], "") + more
}
