package cmd

import "xvault/internal/job"

// jobHint says what a person can do about a failure. The job's own message
// tells what happened.
func jobHint(kind job.Kind, code job.Code) string {
	switch {
	case kind == job.Restore:
		return restoreHint(code)
	case kind == job.Verify && code == job.StorageFull:
		return "Make room where the worker keeps its temporary files (WORKER_TEMP_DIR): a drill loads the whole dump there."
	}
	switch code {
	case job.ConnectFailed:
		return "Check that the server runs, that host and port are right, and that the worker's network reaches it."
	case job.AuthFailed:
		return "Check username and credential: `xvault credential replace` stores a new secret."
	case job.HostKeyUnknown:
		return "Compare the fingerprint with the server's own, then pin it: `xvault source update SOURCE --host-key ...`."
	case job.HostKeyChanged:
		return "Find out why before anything else: a new machine, or somebody in between. Then pin the new key with `xvault source update SOURCE --host-key ...`."
	case job.PathNotFound:
		return "Check the source's paths: `xvault source probe SOURCE --wait` tells which are there."
	case job.PermissionDenied:
		return "Let the user that the source logs in as read them, or leave them out with `xvault source update SOURCE --exclude ...`."
	case job.SourceChanged:
		return "Files changed while they were read. Run the backup when less is written, or exclude what never rests."
	case job.SourceEmpty:
		return "Nothing was found to back up: check paths and excludes, and whether a disk is not mounted."
	case job.StorageFull:
		return "Make room on the worker's storage or use another worker: `xvault worker ls` shows the room they have."
	case job.StorageFailed:
		return "Look at the worker's disk and at its log."
	case job.ArtifactMissing, job.ArtifactCorrupt:
		return "Look at that disk before you trust it again; `xvault snapshot ls --status completed` shows what else there is. After a verification a new backup runs by itself."
	case job.ConfigInvalid:
		return "Correct the source: `xvault source show SOURCE`."
	case job.WorkerRemoved:
		return "Only the removed worker could have done it."
	case job.LeaseLost:
		return "The worker was lost while it worked; see its log."
	case job.Internal:
		return "This is a fault of xVault itself: please report it with the logs of hub and worker."
	default:
		return ""
	}
}

// restoreHint is jobHint for restores: where a source is concerned it is written to.
func restoreHint(code job.Code) string {
	switch code {
	case job.PermissionDenied:
		return "Let the user that the source logs in as write there, or restore to another folder with --target-path."
	case job.SourceChanged:
		return "Look at what stands in the way on the server, or restore to another folder with --target-path."
	case job.StorageFull:
		return "Make room on the server, then restore again: what is there already is not written twice."
	case job.PathNotFound:
		return "`xvault snapshot files SNAPSHOT` lists what is in it."
	default:
		return jobHint("", code)
	}
}
