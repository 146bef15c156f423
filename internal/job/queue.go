package job

import (
	"fmt"

	"github.com/google/uuid"
)

// TaskType is the asynq task type of every delivery.
const TaskType = "xvault:job"

// QueueBackup is the queue that any worker serves.
const QueueBackup = "backup"

// QueueMarker is the Redis key whose absence tells that Redis was emptied.
const QueueMarker = "xvault:marker"

// WorkerQueue names the queue of what one worker alone can do.
func WorkerQueue(workerID string) string { return "worker:" + workerID }

// Delivery is the whole payload of an asynq task: no secret, no name.
type Delivery struct {
	JobID uuid.UUID `json:"job_id"`
	Seq   int64     `json:"seq"`
}

// TaskID is unique to one dispatch of a job: asynq keeps an id taken while a
// task is archived or retained, so a bare job id could block its own retry.
func (d Delivery) TaskID() string { return fmt.Sprintf("%s:%d", d.JobID, d.Seq) }
