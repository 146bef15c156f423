package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"time"

	"xvault/archive"
	"xvault/connectors"
	"xvault/internal/failpoint"
	"xvault/internal/job"
	"xvault/worker/artifact"
)

const (
	phaseWriting   = "writing"
	phaseFinishing = "finishing"
)

// tidyFor is how long a restore that was told to stop may bring in order what it
// began on the source.
const tidyFor = 20 * time.Second

// sourceRestore writes a snapshot, or a part of it, back to a source. The steps, at
// each of which a process may die: connect, make a folder, write beside, rename,
// complete a folder, complete the job. What stands under a real name is always
// whole, and a later attempt takes up where this one stopped.
type sourceRestore struct {
	w       *Worker
	a       *attempt
	payload job.RestorePayload
	target  connectors.Target

	files, bytes atomic.Int64 // read from the archive
}

func (w *Worker) restoreToSource(ctx context.Context, a *attempt, payload job.RestorePayload) outcome {
	if payload.Existing == "" {
		payload.Existing = job.ExistingSkip
	}
	if !payload.Existing.Valid() {
		return outcome{err: job.Errorf(job.ConfigInvalid, "This worker does not know the rule %.20q for existing files; update it.", string(payload.Existing))}
	}
	r := &sourceRestore{w: w, a: a, payload: payload}
	opened, err := w.openClaimed(ctx, a)
	if err != nil {
		return outcome{err: err}
	}
	summary, err := r.run(ctx, opened)
	if closeErr := opened.Close(); err == nil {
		err = closeErr
	}
	return r.outcome(ctx, summary, err)
}

// run writes everything, and leaves the target closed.
func (r *sourceRestore) run(ctx context.Context, opened *artifact.Artifact) (archive.Summary, error) {
	if err := failpoint.Hit("restore.connect"); err != nil {
		return archive.Summary{}, err
	}
	r.a.progress.enter(phaseConnecting)
	target, err := r.w.openTarget(ctx, r.a, r.payload)
	if err != nil {
		return archive.Summary{}, err
	}
	r.target = target
	defer r.closeTarget(ctx)()
	r.a.progress.counts(func() (files, bytes int64) { return r.files.Load(), r.bytes.Load() })
	summary, err := opened.Unpack(ctx, r.payload.Members(), func(e archive.Unpacked) error { return r.put(ctx, e) })
	r.a.progress.enter(phaseFinishing)
	// Also after a failure: what was begun is brought in order.
	if finishErr := target.Finish(ctx); err == nil {
		err = finishErr
	}
	return summary, err
}

// put hands one entry on.
func (r *sourceRestore) put(ctx context.Context, e archive.Unpacked) error {
	r.a.progress.enter(phaseWriting)
	item := connectors.TargetItem{Header: e.Header, Above: e.Above, Content: e.Content}
	if e.Body != nil {
		item.Body = &countedBody{r: e.Body, n: &r.bytes}
	}
	if err := r.target.Put(ctx, item); err != nil {
		return err
	}
	if e.Body != nil {
		r.files.Add(1)
	}
	return nil
}

// countedBody counts what was read, for the progress.
type countedBody struct {
	r io.Reader
	n *atomic.Int64
}

func (c *countedBody) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n.Add(int64(n))
	return n, err
}

// closeTarget ends the connection when the context ends: at once where the job may
// be someone else's already, else after a time in which what was begun is brought in
// order. The returned function closes it in any case, and waits for that.
func (r *sourceRestore) closeTarget(ctx context.Context) func() {
	closed := func() {
		if err := r.target.Close(); err != nil {
			r.a.log.Debug("close target", "error", err) // all that counted was answered, or failed
		}
	}
	over, cancel := context.WithCancel(context.Background())
	stop := context.AfterFunc(ctx, func() {
		if notOurs(context.Cause(ctx)) == nil {
			sleep(over, tidyFor)
		}
		closed()
	})
	return func() {
		cancel()
		stop()
		closed()
	}
}

// openTarget makes the target of a claimed job, with its secret in memory only. It
// does not connect yet.
func (w *Worker) openTarget(ctx context.Context, a *attempt, p job.RestorePayload) (connectors.Target, error) {
	kind, env, err := w.reach(a)
	if err != nil {
		return nil, err
	}
	if !kind.Writable() {
		return nil, job.Errorf(job.ConfigInvalid, "This worker cannot write to sources of type %q; download the files instead, or update it.", a.claim.Source.Type)
	}
	if (p.SiteURL != "" || p.Database != "") && !kind.Site {
		return nil, job.Errorf(job.ConfigInvalid, "url and database mean nothing for sources of type %q; leave them out.", a.claim.Source.Type)
	}
	return kind.OpenTarget(a.claim.Source.Config, env, connectors.TargetOptions{
		JobID: a.claim.JobID.String(), Again: a.claim.Attempt > 1, Folder: p.TargetPath, Existing: p.Existing,
		Members: p.Members(), SiteURL: p.SiteURL, Database: p.Database,
		Allowed: func() error { return a.mayActOutside(ctx) },
		Resumes: func(why error) bool {
			return notOurs(why) != nil || errors.Is(why, errDrained) || job.CodeOf(why).Retryable()
		},
	})
}

// outcome tells what was done, also where it failed.
func (r *sourceRestore) outcome(ctx context.Context, s archive.Summary, err error) outcome {
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	err = artifact.Explain(err)
	var report connectors.TargetReport
	if r.target != nil {
		report = r.target.Report()
	}
	if err == nil && report.Failed > 0 {
		err = incompleteRestore(report, s.Content.Errors)
	}
	encoded, encodeErr := encodeRestored(r.payload, s, report)
	if encodeErr != nil && err == nil {
		err = fmt.Errorf("encode result: %w", encodeErr)
	}
	if err == nil {
		err = failpoint.Hit("restore.done")
	}
	return outcome{result: encoded, err: err}
}

// incompleteRestore is the failure of a restore that could not write everything, of a
// snapshot in which some entries may be incomplete.
func incompleteRestore(report connectors.TargetReport, incomplete int64) error {
	first := report.Problems[0].Err
	code := first.Code
	if code.Retryable() {
		code = job.PermissionDenied
	}
	const (
		rest   = "what is there already is not written again when the restore is repeated"
		makers = "A source of type sftp or ssh for the same server as the target makes the links"
	)
	but := exceptions(report.Skipped, incomplete)
	message := fmt.Sprintf("%d entries could not be written, the first: %s. The others are restored%s; %s.", report.Failed, first.Message, but, rest)
	switch links := report.LinksLost; {
	case links == report.Failed && but == "":
		message = fmt.Sprintf("all is restored but the symbolic links (%d), the first: %s. %s; %s.", links, first.Message, makers, rest)
	case links == report.Failed:
		message = fmt.Sprintf("%d symbolic links could not be made, the first: %s. All else is restored%s. %s; %s.", links, first.Message, but, makers, rest)
	case links > 0:
		message += fmt.Sprintf(" %d of them are symbolic links, which FTP cannot make.", links)
	}
	return &job.Error{Code: code, Err: first, Message: message}
}

// exceptions says what else is not as it was, so that nobody takes the rest for whole;
// nothing where all of it is.
func exceptions(skipped, incomplete int64) string {
	var but []string
	if skipped > 0 {
		but = append(but, fmt.Sprintf("%d left as found, though different", skipped))
	}
	if incomplete > 0 {
		but = append(but, fmt.Sprintf("%d incomplete in the snapshot", incomplete))
	}
	if len(but) == 0 {
		return ""
	}
	return ", except " + strings.Join(but, " and ")
}

// restoredResult is the result of a restore to a source.
type restoredResult struct {
	Destination string       `json:"destination"`
	TargetPath  string       `json:"target_path,omitempty"`
	Existing    job.Existing `json:"existing"`
	// Files, Dirs and Links were written; Bytes are of the files.
	Files       int64 `json:"files"`
	Dirs        int64 `json:"dirs"`
	Links       int64 `json:"links"`
	Bytes       int64 `json:"bytes"`
	Overwritten int64 `json:"overwritten"`
	Skipped     int64 `json:"skipped"`
	Unchanged   int64 `json:"unchanged"`
	Failed      int64 `json:"failed"`
	// OwnersLost and AttributesLost count entries that are not in all as they were.
	OwnersLost     int64 `json:"owners_lost"`
	AttributesLost int64 `json:"attributes_lost"`
	// Incomplete counts entries that the snapshot has by name only, or not whole.
	Incomplete int64            `json:"incomplete"`
	Warnings   []restoreWarning `json:"warnings"`
	// Notes are what the target has to say: the name of a database that was made.
	Notes []string `json:"notes,omitempty"`
}

// restoreWarning is an entry that is not restored, or not as it was.
type restoreWarning struct {
	Path    string   `json:"path"` // escaped
	Code    job.Code `json:"code"`
	Message string   `json:"message"`
}

// encodeRestored names problems, cut where they would be more than a result holds.
func encodeRestored(p job.RestorePayload, s archive.Summary, report connectors.TargetReport) ([]byte, error) {
	for limit := 2 << 10; ; limit /= 2 {
		res := restoredResult{
			Destination: job.DestinationSource, TargetPath: p.TargetPath, Existing: p.Existing,
			Files: report.Files, Dirs: report.Dirs, Links: report.Links, Bytes: report.Bytes,
			Overwritten: report.Overwritten, Skipped: report.Skipped, Unchanged: report.Unchanged, Failed: report.Failed,
			OwnersLost: report.OwnersLost, AttributesLost: report.AttributesLost, Incomplete: s.Content.Errors,
			Warnings: []restoreWarning{},
		}
		for _, note := range report.Notes[:min(len(report.Notes), maxNamed)] {
			res.Notes = append(res.Notes, cutText(note, limit))
		}
		for _, problem := range report.Problems {
			res.Warnings = append(res.Warnings, restoreWarning{
				cutText(archive.Escape(problem.Path), limit), problem.Err.Code, cutText(problem.Err.Message, limit),
			})
		}
		for _, problem := range s.Problems[:min(len(s.Problems), max(0, maxNamed-len(res.Warnings)))] {
			res.Warnings = append(res.Warnings, restoreWarning{
				cutText("/"+problem.Path, limit), problem.Code, "it is not in the snapshot as it was on the source: it could not be read whole when the backup was made",
			})
		}
		encoded, err := json.Marshal(res)
		if err != nil || len(encoded) <= maxResult {
			return encoded, err
		}
	}
}
