package simulation

import (
	"strings"

	"xvault/e2e/system"
)

// look is what the judge does at every moment of rest.
func (w *World) look() {
	w.t.Helper()
	w.acknowledge()
	w.judgeRetention()
}

// judgeAll holds everything against the invariants that can be judged while the
// system is up.
func (w *World) judgeAll() {
	w.t.Helper()
	w.calm()
	w.look()
	w.open(w.alive())
	for _, v := range w.lab.CheckOneWinner(w.t) {
		w.report.violation("I2: %s", v)
	}
	w.judgeSlots()
}

// judgeDisks is invariant I3, after the last sweep.
func (w *World) judgeDisks() {
	w.t.Helper()
	if v := w.lab.CheckDisks(w.t, w.lab.Storages()...); len(v) > 0 {
		w.report.violation("I3: disks and catalog differ:\n%s", strings.Join(v, "\n"))
	}
	for _, worker := range w.lab.Workers {
		for path, size := range system.OrphanFiles(w.t, worker.Storage) {
			w.report.violation("I3: left over: %s (%d bytes)", path, size)
		}
	}
}
