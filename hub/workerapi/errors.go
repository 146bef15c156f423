package workerapi

import (
	"errors"
	"log/slog"
	"net/http"

	"xvault/hub/problem"
	"xvault/internal/job"
	"xvault/store/catalog"
)

// problemOf maps what only this API meets; the rest is as everywhere.
func problemOf(err error) *problem.Problem {
	switch {
	case errors.Is(err, catalog.ErrBadToken):
		return unauthorized()
	case errors.Is(err, catalog.ErrSuperseded):
		return problem.New(http.StatusUnauthorized, job.RefusedSuperseded,
			"This worker started anew since, and the later start took over. Two processes must not share one WORKER_ID.")
	case errors.Is(err, catalog.ErrNotYours):
		return problem.Denied("This token may not register this worker id: the join token is for new ids, and a known worker needs its own token. " +
			"If the worker lost its state folder, remove it at the hub (xvault worker rm) and start it again.")
	case errors.Is(err, catalog.ErrFenced):
		return problem.New(http.StatusConflict, job.RefusedLeaseLost, "This attempt is not the current one, or its lease is lost; stop working on it.")
	case errors.Is(err, catalog.ErrNotClaimable):
		return problem.New(http.StatusConflict, job.RefusedNotClaimable, "The job cannot be claimed by this worker now.")
	case errors.Is(err, catalog.ErrGone):
		return problem.New(http.StatusGone, job.RefusedGone, "There is no such job to do any more.")
	}
	return problem.From(catalog.Classify(err))
}

// refuse answers with the error's problem and logs what an operator should see.
func (a *api) refuse(w http.ResponseWriter, r *http.Request, err error) {
	err = a.lookedUp(r, err)
	p := problemOf(err)
	level := slog.LevelDebug
	switch {
	case p.Status >= http.StatusInternalServerError:
		level = slog.LevelError
	case p.Status == http.StatusUnauthorized || p.Status == http.StatusForbidden:
		level = slog.LevelWarn
	}
	a.log.LogAttrs(r.Context(), level, "refused a worker's call", append(callAttrs(r),
		slog.Int("status", p.Status), slog.String("code", p.Code), slog.Any("error", err))...)
	problem.Write(w, p)
}
