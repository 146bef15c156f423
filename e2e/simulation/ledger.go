package simulation

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"

	"xvault/e2e/system"
)

// ledger is what the hub acknowledged, and how the sources stood then.
type ledger struct{ acks map[string]*ack }

// ack is a snapshot that the hub said is whole.
type ack struct {
	system.Snapshot
	source *source
	// wants are the trees that it may hold: more than one where the source
	// changed while it may have been read, and then file by file.
	wants []system.Tree
}

// listed is a snapshot as the API lists it.
type listed struct {
	system.Snapshot
	Hold bool `json:"hold"`
}

// acknowledge asks the hub for its newest snapshots, and opens those that it had not told
// of before.
func (w *World) acknowledge() {
	w.t.Helper()
	if w.ledger.acks == nil {
		w.ledger.acks = map[string]*ack{}
	}
	var fresh []*ack
	count := map[string]string{}
	for _, row := range w.rows(`SELECT source_id::text, count(*)::text FROM snapshots GROUP BY 1`) {
		count[row[0]] = row[1]
	}
	for _, s := range w.sources {
		if s.snapshots == count[s.id] { // nothing new to ask for
			s.also = nil
			continue
		}
		s.snapshots = count[s.id]
		for _, snap := range system.List[listed](w.t, w.lab.API, "/api/v1/snapshots?limit=30&source_id="+s.id) {
			if w.ledger.acks[snap.ID] != nil || snap.Status != "completed" && snap.Status != "suspicious" {
				continue
			}
			a := &ack{Snapshot: snap.Snapshot, source: s, wants: []system.Tree{s.want}}
			if s.also != nil {
				a.wants = append(a.wants, s.also)
			}
			w.ledger.acks[snap.ID] = a
			fresh = append(fresh, a)
			if s.trouble == unreadable {
				w.report.violation("I7: a file of source %s could not be read, and snapshot %s is %s", s.id, snap.ID, snap.Status)
			}
		}
		s.also = nil
	}
	w.report.snapshots += len(fresh)
	w.open(fresh)
}

// open is invariant I1 for some snapshots.
func (w *World) open(acks []*ack) {
	w.t.Helper()
	faults := make([]error, len(acks))
	slots := make(chan struct{}, 4)
	var all sync.WaitGroup
	for i, a := range acks {
		all.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			faults[i] = a.open()
		})
	}
	all.Wait()
	w.report.opened += len(acks)
	for i, err := range faults {
		if err != nil {
			w.report.violation("I1: snapshot %s of source %s, %s: %v", acks[i].ID, acks[i].SourceID, acks[i].LocalPath, err)
		}
	}
}

func (a *ack) open() error {
	got, err := system.OpenTree(filepath.Join(a.LocalPath, system.Artifact), a.source.identity, a.source.path)
	if err != nil {
		return err
	}
	return a.compare(got)
}

// compare holds a restored tree against the source.
func (a *ack) compare(got system.Tree) error {
	want := a.wants[0]
	if len(a.wants) > 1 {
		want = mixed(a.wants, got)
	}
	if diffs := want.Diff(got); len(diffs) > 0 {
		return fmt.Errorf("it is not what the source was: %q", diffs)
	}
	return nil
}

// mixed takes each entry from the tree in which it is as it was got.
func mixed(wants []system.Tree, got system.Tree) system.Tree {
	tree := system.Tree{}
	for _, want := range wants {
		for path, node := range want {
			if known, ok := tree[path]; !ok || known != got[path] {
				tree[path] = node
			}
		}
	}
	return tree
}

// gone tells whether nothing is expected of a snapshot any more.
func (w *World) alive() []*ack {
	w.t.Helper()
	there := map[string]bool{}
	for _, row := range w.rows(`SELECT id::text FROM snapshots s WHERE status <> 'deleted' AND NOT EXISTS
		(SELECT 1 FROM jobs j WHERE j.snapshot_id = s.id AND j.type = 'delete_snapshot' AND j.attempt > 0)`) {
		there[row[0]] = true
	}
	var acks []*ack
	for id, a := range w.ledger.acks {
		if there[id] {
			acks = append(acks, a)
		}
	}
	return acks
}

// fetch downloads what a restore made, and has tar extract it.
func fetch(url, dir string) error {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(url)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the download answered %s", resp.Status)
	}
	return system.ExtractTar(resp.Body, dir)
}

func decode[T any](r system.Reply) (T, error) {
	var v T
	err := json.Unmarshal(r.Body, &v)
	return v, err
}

// scratch is a folder for one comparison.
func scratch(use func(dir string) error) error {
	dir, err := os.MkdirTemp("", "xvault-simulation-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	return use(dir)
}
