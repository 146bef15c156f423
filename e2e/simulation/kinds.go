package simulation

// What goes wrong while backups run.
const (
	killWorker    = "kill -9 a worker"
	killHub       = "kill -9 a hub"
	workerDies    = "a worker dies at a step"
	hubDies       = "a hub dies at a step"
	crashPostgres = "postgres stops at once"
	flushRedis    = "redis is emptied"
	killRedis     = "kill -9 redis"
	cutOff        = "a worker is cut off from the hubs"
	storageGone   = "a storage is gone"
	freezeWorker  = "a worker stands still past its lease"
	changeRead    = "a source changes while it is read"
	killSSHD      = "sshd dies while it is read"
)

func storms() []string {
	return []string{
		killWorker, killHub, workerDies, hubDies, crashPostgres, flushRedis, killRedis, cutOff, storageGone, freezeWorker, changeRead, killSSHD,
	}
}

// What a source suffers for some hours.
const (
	serverDown   = "sshd is down for hours"
	unreadable   = "a file cannot be read"
	otherHostKey = "the host key changes"
	emptySource  = "a source is empty"
	smallSource  = "a source is suspiciously small"
)

func troubles() []string {
	return []string{serverDown, unreadable, otherHostKey, emptySource, smallSource}
}

// What people do.
const (
	backUpNow     = "a backup by hand"
	holdSnapshot  = "a snapshot is held, another one not any more"
	deleteOne     = "a snapshot is deleted"
	deleteNow     = "a snapshot is deleted without grace"
	undelete      = "a deletion is taken back"
	download      = "a restore is downloaded"
	deleteReading = "a snapshot is deleted while it is restored"
	moveSchedule  = "a schedule is changed"
	pauseSchedule = "a schedule is disabled or enabled"
	pauseSource   = "a source is disabled or enabled"
	changePolicy  = "a policy is changed"
)

func people() []string {
	return []string{
		backUpNow, holdSnapshot, deleteOne, deleteNow, undelete, download, deleteReading, moveSchedule, pauseSchedule, pauseSource, changePolicy,
	}
}

// What happens to time.
const (
	hubsAway    = "no hub for hours"
	workersAway = "no worker for hours"
	hourAhead   = "the clock is an hour ahead for a while"
	yearAhead   = "the clock is a year ahead for a while"
	hourBack    = "the clock is an hour behind for a while"
)

func times() []string { return []string{hubsAway, workersAway, hourAhead, yearAhead, hourBack} }

// editSource is what sources are there for.
const editSource = "files of a source change"

// mend ends a trouble.
const mend = "mended"
