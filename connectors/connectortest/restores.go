package connectortest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"xvault/connectors"
	"xvault/internal/job"
	"xvault/internal/testenv"
)

// RunRestores runs what of the target suite needs no tree, but for the named tests.
func RunRestores(t *testing.T, start Factory, but ...string) {
	t.Helper()
	runBut(t, start, restoreTests(), but)
}

// restoreTests are of what leads to a server, whatever is restored to it.
func restoreTests() map[string]func(*testing.T, Factory) {
	return map[string]func(*testing.T, Factory){
		"RestoreIsCut":                testRestoreCut,
		"ServerIsKilledDuringRestore": testRestoreKilled,
		"RestoreIsCanceled":           testRestoreEnds,
	}
}

// Back is something that was made to be backed up, and to be restored by the job
// TargetJob, which may replace nothing.
type Back struct {
	// Name is what Config takes for it.
	Name string
	// Drop removes what was restored, so that it is restored anew.
	Drop func(t *testing.T)
	// Failed checks what is there after a restore that failed and told what is given:
	// under names that mean something nothing but what is whole, or what says of itself
	// that it is not, and was told of.
	Failed func(t *testing.T, told string)
	// Whole checks that all is restored as it was, and that nothing is left beside it.
	Whole func(t *testing.T)
}

// back makes what a test restores.
func (s *Server) back(t *testing.T, bytes int) Back {
	t.Helper()
	if s.Back != nil {
		return s.Back(t, bytes)
	}
	tr := tree{t, s.Root + "/tree"}
	for _, name := range []string{"a/1", "a/b/2", "d/4", "e"} {
		tr.file(name, 2000)
	}
	tr.file("c/large", bytes)
	for _, dir := range []string{"a/b", "a", "c", "d", ""} {
		must(t, os.Chtimes(tr.path(dir), modTime, modTime))
	}
	var before []got
	return Back{
		Name: tr.root,
		Drop: func(t *testing.T) {
			t.Helper()
			if before == nil { // now it is as it was backed up
				before = onDisk(t, s, tr.root)
			}
			must(t, os.RemoveAll(tr.root))
		},
		Failed: func(t *testing.T, _ string) {
			t.Helper()
			wholeFiles(t, tr)
		},
		Whole: func(t *testing.T) {
			t.Helper()
			noLeftovers(t, s.Root)
			sameTrees(t, s, onDisk(t, s, tr.root), before)
		},
	}
}

// wholeFiles checks that files with names of their own are whole.
func wholeFiles(t *testing.T, tr tree) {
	t.Helper()
	err := filepath.WalkDir(tr.root, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasPrefix(d.Name(), connectors.TempPrefix) {
			return err
		}
		b, err := os.ReadFile(path)
		if err == nil && !bytes.Equal(b, pattern(strings.TrimPrefix(path, tr.root+"/"), len(b))) || len(b) < 2000 {
			t.Errorf("%q has %d bytes that are not those of the backup", path, len(b))
		}
		return err
	})
	if err != nil && !os.IsNotExist(err) {
		t.Error(err)
	}
}

// restored puts everything back once, and gives what is told of it. From half of the
// content on, do is done; nil: nothing.
func restored(ctx context.Context, t *testing.T, s *Server, raw map[string]any, o connectors.TargetOptions, all []member, do func()) (told string, err error) {
	t.Helper()
	o.Resumes = func(why error) bool { return job.CodeOf(why).Retryable() }
	target := restoringAt(t, s, o, raw)
	half := &meanwhile{do: do}
	for i := range all {
		half.after += int64(len(all[i].data)) / 2
	}
	for i := range all {
		item := all[i].item()
		if item.Body != nil {
			item.Body = io.TeeReader(item.Body, half)
		}
		if err = target.Put(ctx, item); err != nil {
			break
		}
	}
	if finishErr := target.Finish(ctx); err == nil {
		err = finishErr
	}
	report := target.Report()
	must(t, target.Close())
	for _, p := range report.Problems {
		told += fmt.Sprintf("%q: %v\n", p.Path, p.Err)
	}
	if err == nil && report.Failed > 0 {
		err = report.Problems[0].Err // as a worker has it
	}
	return fmt.Sprintf("%v\n%s%s", err, told, strings.Join(report.Notes, "\n")), err
}

// again restores what an attempt left, and checks that all is there.
func (b Back) again(t *testing.T, s *Server, all []member) {
	t.Helper()
	if told, err := restored(deadline(t), t, s, direct(t, s, b.Name), connectors.TargetOptions{Again: true}, all, nil); err != nil {
		t.Fatalf("the next attempt: %s", told)
	}
	b.Whole(t)
}

func testRestoreCut(t *testing.T, start Factory) {
	t.Helper()
	s := start(t, Options{})
	b := s.back(t, some)
	all := backedUp(t, s, b.Name)
	b.Drop(t)
	whole := testenv.SlowLink(t, s.Addr, 0)
	if told, err := restored(deadline(t), t, s, s.Config(whole.Host, whole.Port, b.Name), connectors.TargetOptions{}, all, nil); err != nil {
		t.Fatal(told)
	}
	b.Whole(t)
	total := whole.Sent()
	for _, percent := range []int64{1, 50, 99} {
		for try := 1; ; try++ {
			b.Drop(t)
			at := total * percent / 100
			link := testenv.SlowLink(t, s.Addr, 0)
			link.CutAfterSent(at)
			told, err := restored(deadline(t), t, s, s.Config(link.Host, link.Port, b.Name), connectors.TargetOptions{}, all, nil)
			// As in testCut: how much is sent is a matter of timing.
			if sent := link.Sent(); err == nil && sent < at && try < 5 {
				total = sent
				continue
			}
			wantCode(t, fmt.Sprintf("cut at %d %%, %d of %d bytes", percent, link.Sent(), total), err, job.ConnectFailed)
			b.Failed(t, told)
			break
		}
		b.again(t, s, all)
	}
}

// A server, or its part in what is restored, dies in the middle of it.
func testRestoreKilled(t *testing.T, start Factory) {
	t.Helper()
	s := start(t, Options{Own: true})
	b := s.back(t, some)
	all := backedUp(t, s, b.Name)
	for _, kill := range slices.DeleteFunc(slices.Clone(s.Kills), func(k Kill) bool { return k.Reading }) {
		b.Drop(t)
		told, err := restored(deadline(t), t, s, direct(t, s, b.Name), connectors.TargetOptions{}, all, kill.Do)
		if kill.Again != nil {
			kill.Again()
		}
		wantCode(t, kill.What+" was killed", err, job.ConnectFailed)
		b.Failed(t, told)
		b.again(t, s, all)
	}
}

// A restore that is told to stop says so, and brings in order what it began.
func testRestoreEnds(t *testing.T, start Factory) {
	t.Helper()
	s := start(t, Options{})
	b := s.back(t, some)
	all := backedUp(t, s, b.Name)
	b.Drop(t)
	ctx, cancel := context.WithCancelCause(deadline(t))
	defer cancel(nil)
	_, err := restored(ctx, t, s, direct(t, s, b.Name), connectors.TargetOptions{}, all, func() { cancel(errUnwanted) })
	if !errors.Is(err, errUnwanted) {
		t.Errorf("canceled in the middle: %v", err)
	}
	b.Failed(t, "") // nothing is left that had to be told of
	if s.Root != "" {
		noLeftovers(t, s.Root)
	}
	s.idle(t)
}

// withRestores adds the tests that need no tree.
func withRestores(all map[string]func(*testing.T, Factory)) map[string]func(*testing.T, Factory) {
	maps.Copy(all, restoreTests())
	return all
}
