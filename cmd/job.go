package cmd

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"xvault/internal/apiclient"
	"xvault/internal/job"
)

var jobView = view[apiclient.Job]{
	heading: []string{"ID", "TYPE", "STATUS", "SOURCE", "CREATED", "TOOK", "NOTE"},
	row: func(j apiclient.Job) []string {
		return []string{j.ID, string(j.Type), string(j.Status), j.SourceID, when(j.CreatedAt), jobTook(j, time.Now()), jobNote(j)}
	},
	fields: func(j apiclient.Job) []string {
		pairs := []string{
			"id", j.ID, "type", string(j.Type), "status", string(j.Status), "waits for", waitsFor(j.WaitingReason),
			"tenant", j.TenantID, "source", j.SourceID, "worker", j.WorkerID, "for worker", j.TargetWorkerID,
			"priority", fmt.Sprint(j.Priority), "attempt", attemptOf(j), "next try", nextTry(j),
			"created", when(j.CreatedAt), "started", whenMaybe(j.StartedAt), "finished", whenMaybe(j.FinishedAt), "took", jobTook(j, time.Now()),
			"snapshot", j.SnapshotID,
		}
		if j.Progress != nil {
			pairs = append(pairs, "progress", progressText(*j.Progress))
		}
		if j.Error != nil {
			pairs = append(pairs, "error", string(j.Error.Code), "", j.Error.Message)
			pairs = append(pairs, "what to do", jobHint(j.Type, j.Error.Code))
		}
		for _, note := range j.Notes() {
			pairs = append(pairs, "note", note)
		}
		return pairs
	},
}

var jobStatuses = []string{"queued", "running", "finalizing", "completed", "failed", "canceled"}
var jobTypes = []string{"backup", "restore", "delete_snapshot", "verify", "probe"}

func newJobCommand() *cobra.Command {
	resource := (*apiclient.Client).Jobs
	return noun("job", "Work that is done, or waits to be", `A job is one unit of work: a backup, a probe, a restore. It waits in the queue
until a worker takes it, and is tried again when a passing trouble stopped it.`,
		newJobRunCommand(),
		listCommand("List jobs", resource, jobView,
			filter{flag: "status", parameter: "status", usage: "only those in this state", words: jobStatuses},
			filter{flag: "type", parameter: "type", usage: "only those of this type", words: jobTypes},
			filter{flag: "source", parameter: "source_id", usage: "only those of this source", what: "source", list: sources}),
		showCommand("job", jobs, resource, jobView),
		newJobWaitCommand(),
		actCommand("cancel", "job", "Cancel a job that waits or runs, or revoke the download of a restore", jobs, resource, jobView),
	)
}

func newJobRunCommand() *cobra.Command {
	var opts clientOptions
	var wait bool
	var priority int
	c := &cobra.Command{
		Use: "run SOURCE", Short: "Back up a source now", Args: cobra.ExactArgs(1),
		Long: `Queues a backup of a source. With --wait it shows how the backup goes, and exits 3
when it fails; interrupting it stops the waiting, not the backup.`,
		Example: `  xvault job run web1 --wait
  xvault job run web1 -o json | jq -r .id`,
		ValidArgsFunction: opts.completion(sources),
	}
	c.RunE = opts.run(func(ctx context.Context, s *session, args []string) error {
		body := struct {
			SourceID string   `json:"source_id"`
			Type     job.Kind `json:"type"`
			Priority *int     `json:"priority,omitempty"`
		}{Type: job.Backup}
		var err error
		if body.SourceID, err = s.resolve(ctx, "source", sources, args[0]); err != nil {
			return err
		}
		if c.Flags().Changed("priority") {
			body.Priority = &priority
		}
		item, err := s.Jobs().Create(ctx, body)
		if err != nil {
			return err
		}
		return s.follow(ctx, item, wait, showBackup)
	})
	opts.addFlags(c)
	c.Flags().BoolVar(&wait, "wait", false, "wait for its end; exit 3 when it fails")
	c.Flags().IntVar(&priority, "priority", 5, "0 to 9; 9 goes first")
	return c
}

func newJobWaitCommand() *cobra.Command {
	var opts clientOptions
	c := &cobra.Command{
		Use: "wait JOB", Short: "Wait for a job's end; exit 3 when it fails", Args: cobra.ExactArgs(1),
		ValidArgsFunction: opts.completion(jobs),
		RunE: opts.run(func(ctx context.Context, s *session, args []string) error {
			id, err := s.resolve(ctx, "job", jobs, args[0])
			if err != nil {
				return err
			}
			item, err := s.Jobs().Get(ctx, id)
			if err != nil {
				return err
			}
			show := showBackup
			switch item.Value.Type {
			case job.Probe:
				show = showProbe
			case job.Restore:
				show = showRestored
			case job.Verify:
				show = showVerified
			}
			return s.follow(ctx, item, true, show)
		}),
	}
	opts.addFlags(c)
	return c
}

// showBackup tells of the snapshot that a job made.
func showBackup(ctx context.Context, s *session, j apiclient.Job) error {
	if j.SnapshotID == "" || j.Type != job.Backup {
		return nil
	}
	item, err := s.Snapshots().Get(ctx, j.SnapshotID)
	if err != nil {
		return err
	}
	if err := printItem(s.out, snapshotView, item); err != nil {
		return err
	}
	for _, note := range j.Notes() {
		s.out.printf("note: %s\n", printable(note))
	}
	return s.out.err
}

func jobTook(j apiclient.Job, now time.Time) string {
	if j.StartedAt == nil {
		return ""
	}
	end := now
	if j.FinishedAt != nil {
		end = *j.FinishedAt
	}
	return took(max(end.Sub(*j.StartedAt), 0))
}

// jobNote is the one thing worth saying in a table.
func jobNote(j apiclient.Job) string {
	switch {
	case j.Error != nil && j.Status != job.Completed:
		return string(j.Error.Code)
	case j.WaitingReason != "":
		return waitsFor(j.WaitingReason)
	case j.Progress != nil && !j.Status.Terminal():
		return progressText(*j.Progress)
	case len(j.Notes()) > 0:
		return "see its notes"
	default:
		return ""
	}
}

func attemptOf(j apiclient.Job) string {
	if j.Attempt == 0 {
		return ""
	}
	return fmt.Sprintf("%d of at most %d", j.Attempt, j.MaxAttempts)
}

func nextTry(j apiclient.Job) string {
	if j.Status != job.Queued || j.Attempt == 0 {
		return ""
	}
	return whenMaybe(j.RunAfter)
}

func waitsFor(reason string) string {
	switch reason {
	case "worker_offline":
		return "its worker, which is offline"
	case "no_worker":
		return "a worker: none is online"
	case "retry_backoff":
		return "its next try"
	case "scheduled":
		return "its time"
	case "source_busy":
		return "another backup of its source"
	case "host_busy":
		return "other backups of its server"
	case "tenant_busy":
		return "other backups of its tenant"
	case "":
		return ""
	default:
		return reason
	}
}
