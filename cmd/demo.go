package cmd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"xvault/internal/apiclient"
	"xvault/internal/treediff"
)

// story tells what happens, one step at a time.
type story struct {
	out   *printer
	quiet bool // only the demo tells one
	step  int
	begin time.Time
	last  time.Time
}

func newStory(out *printer, tell bool) *story {
	now := time.Now()
	return &story{out: out, quiet: !tell, begin: now, last: now}
}

// tell prints a step with how long it took, and what there is to say of it.
func (s *story) tell(title string, lines ...string) {
	if s.quiet {
		return
	}
	s.step++
	now := time.Now()
	s.out.printf("\n%d. %-62s %8s\n", s.step, title, took(now.Sub(s.last)))
	s.last = now
	for _, line := range lines {
		s.out.printf("   %s\n", line)
	}
}

func (s *story) started(d *devStack) {
	if !s.quiet {
		s.out.printf("A server is backed up over SSH, the result opened with stock tools and compared.\n")
	}
	s.tell("Started Postgres, Redis, an SSH server, a hub and a worker",
		"hub "+d.url+", SSH server "+d.sshd.Addr()+", all private to this process")
}

// demo is one run of it.
type demo struct {
	stack *devStack
	scene scene
	story *story
	dir   string // for what it makes
}

func runDemo(ctx context.Context, stack *devStack, sc scene, story *story) error {
	d := demo{stack: stack, scene: sc, story: story, dir: stack.path("demo")}
	if sc.files < enoughFiles {
		return fmt.Errorf("%s has %d files, which is too few to show anything: name a folder with %d or more", sc.tree, sc.files, enoughFiles)
	}
	if err := os.RemoveAll(d.dir); err != nil {
		return fmt.Errorf("clear last time's files: %w", err)
	}
	if err := os.Mkdir(d.dir, 0o700); err != nil {
		return fmt.Errorf("make a folder for the demo: %w", err)
	}
	story.tell("Made a tenant with a key pair, a credential and a source", fmt.Sprintf("source %q: %s and a folder of odd names and links, %s files", demoName, printable(sc.tree), count(sc.files)))
	if err := d.probe(ctx); err != nil {
		return err
	}
	snapshot, err := d.backUp(ctx)
	if err != nil {
		return err
	}
	if err := d.open(ctx, snapshot); err != nil {
		return err
	}
	return d.compare(snapshot)
}

// xvault runs a client command as a person would, and gives what it printed.
func (d *demo) xvault(ctx context.Context, args ...string) (string, error) {
	var out, progress bytes.Buffer
	root := NewRoot()
	root.SetOut(&out)
	root.SetErr(&progress)
	root.SetArgs(append(args, "--server", d.stack.url, "--key-file", d.stack.path("operator.key")))
	if err := root.ExecuteContext(ctx); err != nil {
		return "", fmt.Errorf("xvault %s: %w", strings.Join(args, " "), err)
	}
	return out.String(), nil
}

func (d *demo) probe(ctx context.Context) error {
	out, err := d.xvault(ctx, "source", "probe", demoName, "--wait")
	if err != nil {
		return err
	}
	lines := []string{"$ xvault source probe demo --wait"}
	for line := range strings.Lines(out) {
		if strings.HasPrefix(line, "server") || strings.HasPrefix(line, "fingerprint") {
			lines = append(lines, strings.TrimRight(line, "\n"))
		}
	}
	d.story.tell("Probed it: connected, checked the host key, logged in, looked", lines...)
	return nil
}

func (d *demo) backUp(ctx context.Context) (apiclient.Snapshot, error) {
	if _, err := d.xvault(ctx, "job", "run", demoName, "--wait"); err != nil {
		return apiclient.Snapshot{}, err
	}
	snapshots, err := d.stack.client.Snapshots().List(ctx, nil, 1)
	if err != nil {
		return apiclient.Snapshot{}, err
	}
	if len(snapshots) != 1 {
		return apiclient.Snapshot{}, errors.New("the backup completed, and there is no snapshot")
	}
	s := snapshots[0].Value
	if s.Status != "completed" {
		return s, fmt.Errorf("the snapshot is %s, not completed", s.Status)
	}
	c := s.Manifest.Content
	if c.Files < d.scene.files {
		return s, fmt.Errorf("the snapshot has %d files, the folder %d", c.Files, d.scene.files)
	}
	peak, err := peakMemory()
	if err != nil {
		return s, err
	}
	duration := time.Duration(s.DurationMS) * time.Millisecond
	d.story.tell("Backed it up",
		"$ xvault job run demo --wait",
		fmt.Sprintf("%s files, %s folders, %s links, %s in %s: %s/s", count(c.Files), count(c.Dirs), count(c.Links), size(c.Bytes),
			took(duration), size(rate(c.Bytes, duration))),
		fmt.Sprintf("sealed artifact %s (%d %%); peak memory %s, worker and all else in this process", size(s.SizeBytes),
			100*s.SizeBytes/max(c.Bytes, 1), size(peak)),
	)
	return s, nil
}

func rate(bytes int64, d time.Duration) int64 {
	if d <= 0 {
		return 0
	}
	return int64(float64(bytes) / d.Seconds())
}

// open takes the artifact apart with the tools that everybody has.
func (d *demo) open(ctx context.Context, s apiclient.Snapshot) error {
	kit := filepath.Join(d.dir, "kit.txt")
	if _, err := d.xvault(ctx, "tenant", "export-key", demoName, "--file", kit); err != nil {
		return err
	}
	restored := filepath.Join(d.dir, "restored")
	if err := os.Mkdir(restored, 0o700); err != nil {
		return fmt.Errorf("make a folder to restore into: %w", err)
	}
	if err := restoreWithStockTools(ctx, kit, filepath.Join(s.LocalPath, "backup.tar.zst.enc"), restored); err != nil {
		return err
	}
	d.story.tell("Opened it with stock tools",
		"$ xvault tenant export-key demo --file kit.txt",
		"$ age -d -i kit.txt backup.tar.zst.enc | zstd -d | tar -x")
	return nil
}

func (d *demo) compare(s apiclient.Snapshot) error {
	owners := os.Getuid() == 0
	// SFTP tells modification times in whole seconds, and no hard links.
	opts := treediff.Options{Owners: owners, Precision: time.Second}
	var report treediff.Report
	for _, tree := range []string{d.scene.tree, d.scene.odd} {
		r, err := treediff.Compare(tree, filepath.Join(d.dir, "restored", tree), opts)
		if err != nil {
			return err
		}
		report.Add(r)
	}
	if !report.Same() {
		return fmt.Errorf("what was restored differs in %d places:\n  %s", report.Total, strings.Join(report.Differences, "\n  "))
	}
	if report.Files < enoughFiles || report.Files != s.Manifest.Content.Files || report.Links != s.Manifest.Content.Links {
		return fmt.Errorf("%d files and %d links were compared, and the snapshot has %d and %d",
			report.Files, report.Links, s.Manifest.Content.Files, s.Manifest.Content.Links)
	}
	what := "bytes, modes, owners, times, links"
	if !owners {
		what = "bytes, modes, times, links"
	}
	d.story.tell("Compared it with the original, byte for byte",
		fmt.Sprintf("%s files, %s folders, %s links, %s: equal in %s", count(report.Files), count(report.Dirs), count(report.Links), size(report.Bytes), what))
	d.story.out.printf("\nAll is equal, after %s in all.\n", took(time.Since(d.story.begin)))
	return d.story.out.err
}

// peakMemory is the most that this process ever had in memory.
func peakMemory() (int64, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, fmt.Errorf("read peak memory: %w", err)
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			if err != nil {
				return 0, fmt.Errorf("read peak memory: %w", err)
			}
			return kib << 10, nil
		}
	}
	return 0, errors.New("read peak memory: the kernel does not tell")
}
