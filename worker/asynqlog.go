package worker

import (
	"fmt"
	"log/slog"
)

// asynqLog brings asynq's lines into the worker's log. What asynq tells of
// single tasks is a detail: the catalog says what becomes of a job.
type asynqLog struct{ log *slog.Logger }

func (l asynqLog) Debug(args ...any) { l.log.Debug("asynq", "detail", fmt.Sprint(args...)) }
func (l asynqLog) Info(args ...any)  { l.log.Debug("asynq", "detail", fmt.Sprint(args...)) }
func (l asynqLog) Warn(args ...any)  { l.log.Debug("asynq", "detail", fmt.Sprint(args...)) }
func (l asynqLog) Error(args ...any) { l.log.Warn("asynq", "detail", fmt.Sprint(args...)) }

// Fatal is meant to end the process; that is not asynq's to decide.
func (l asynqLog) Fatal(args ...any) { l.log.Error("asynq", "detail", fmt.Sprint(args...)) }
