package simulation

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"xvault/e2e/system"
)

// trouble begins what a source suffers from for some hours.
func (w *World) trouble(a Action, rng *rand.Rand) {
	w.t.Helper()
	i := rng.IntN(len(w.sources))
	if a.Kind == unreadable { // only where sessions cannot read everything
		for w.sources[i].sourcePlan.server != nobodyServer {
			i = (i + 1) % len(w.sources)
		}
	}
	s := w.sources[i]
	if s.trouble != "" {
		return
	}
	w.later(Action{At: w.clock.now().Add(6*time.Hour + upTo(rng, 14*time.Hour)), Kind: mend, Seed: uint64(i)})
	s.trouble = a.Kind
	switch a.Kind {
	case serverDown:
		s.server.Stop()
	case otherHostKey:
		s.server.ReplaceHostKeys()
	case unreadable:
		w.must(os.Chmod(filepath.Join(s.path, "dir1/file01"), 0))
	case emptySource:
		w.must(errors.Join(os.Rename(s.path, s.path+".aside"), os.Mkdir(s.path, 0o755)))
	case smallSource:
		w.must(errors.Join(os.Rename(s.path, s.path+".aside"), os.Mkdir(s.path, 0o755), os.WriteFile(filepath.Join(s.path, "one"), []byte("left"), 0o644)))
	}
	s.want = system.Scan(w.t, s.path)
	if !s.paused() {
		for range 1 + rng.IntN(4) {
			w.backUp(s)
		}
	}
}

// mend ends a source's trouble, whatever it is.
func (w *World) mend(s *source) {
	w.t.Helper()
	switch s.trouble {
	case serverDown:
		s.server.Start()
	case otherHostKey:
		for _, other := range w.sources {
			if other.server == s.server {
				w.lab.API.Do(w.t, "PATCH", "/api/v1/sources/"+other.id, map[string]any{"config": s.server.Config(other.path)}, 200)
			}
		}
	case unreadable:
		w.must(os.Chmod(filepath.Join(s.path, "dir1/file01"), 0o644))
	case emptySource, smallSource:
		w.must(errors.Join(os.RemoveAll(s.path), os.Rename(s.path+".aside", s.path)))
	case "":
		return
	}
	s.trouble = ""
	s.want = system.Scan(w.t, s.path)
	if !s.paused() {
		w.backUp(s)
	}
}

func (w *World) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(fmt.Errorf("set the scene: %w", err))
	}
}
