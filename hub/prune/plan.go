package prune

import (
	"fmt"
	"time"

	"github.com/google/uuid"

	"xvault/hub/retention"
	"xvault/store/catalog"
)

// Plan is what a run does to a source by the policies of its schedules.
func Plan(view catalog.RetentionView) (catalog.RetentionPlan, error) {
	rules, err := Rules(view)
	if err != nil {
		return catalog.RetentionPlan{}, err
	}
	var plan catalog.RetentionPlan
	decisions := decide(rules, view)
	for i, s := range view.Snapshots {
		switch d := decisions[s.ID]; {
		case !d.Keep && !s.Marked:
			plan.Remove = append(plan.Remove, s.ID)
		case d.Keep && s.Marked:
			plan.TakeBack = append(plan.TakeBack, view.Snapshots[i].ID)
		}
	}
	return plan, nil
}

// Preview is what a run would do, and why.
type Preview struct {
	Keep, Remove []Previewed
	// FreedBytes is the size of the artifacts in Remove.
	FreedBytes int64
}

// Previewed is one snapshot of a preview.
type Previewed struct {
	Snapshot catalog.RetainedSnapshot
	Reasons  []string
}

// Foresee says what a run by these rules would do. What an earlier run marked
// is in neither list, unless this one would take it back.
func Foresee(rules []retention.Rule, view catalog.RetentionView) Preview {
	p := Preview{Keep: []Previewed{}, Remove: []Previewed{}}
	decisions := decide(rules, view)
	for _, s := range view.Snapshots {
		d := decisions[s.ID]
		entry := Previewed{Snapshot: s, Reasons: d.Reasons}
		switch {
		case d.Keep && s.Marked:
			entry.Reasons = append([]string{"taken_back"}, d.Reasons...)
			p.Keep = append(p.Keep, entry)
		case d.Keep:
			p.Keep = append(p.Keep, entry)
		case !s.Marked:
			p.Remove = append(p.Remove, entry)
			p.FreedBytes += s.SizeBytes
		}
	}
	return p
}

// Rules are the policies of a source's schedules, each in its schedule's zone.
func Rules(view catalog.RetentionView) ([]retention.Rule, error) {
	rules := make([]retention.Rule, len(view.Rules))
	for i, r := range view.Rules {
		policy, err := retention.ParsePolicy(r.Policy)
		if err != nil {
			return nil, err
		}
		zone, err := time.LoadLocation(r.Timezone)
		if err != nil {
			return nil, fmt.Errorf("time zone of a schedule: %w", err)
		}
		rules[i] = retention.Rule{Policy: policy, Zone: zone}
	}
	return rules, nil
}

func decide(rules []retention.Rule, view catalog.RetentionView) map[uuid.UUID]retention.Decision {
	snapshots := make([]retention.Snapshot, len(view.Snapshots))
	byID := make(map[string]uuid.UUID, len(view.Snapshots))
	for i, s := range view.Snapshots {
		id := s.ID.String()
		byID[id] = s.ID
		snapshots[i] = retention.Snapshot{ID: id, Time: s.StartedAt, Worth: worth(s), Held: s.Hold, InUse: s.InUse}
	}
	decisions := make(map[uuid.UUID]retention.Decision, len(snapshots))
	for _, d := range retention.Decide(rules, snapshots, view.Now) {
		decisions[byID[d.ID]] = d
	}
	return decisions
}

func worth(s catalog.RetainedSnapshot) retention.Worth {
	switch s.Status {
	case catalog.SnapshotCompleted:
		if s.Missing {
			return retention.Missing
		}
		return retention.Good
	case catalog.SnapshotPartial, catalog.SnapshotFailed:
		return retention.Partial
	case catalog.SnapshotCorrupt:
		return retention.Corrupt
	default:
		return retention.Suspicious
	}
}
