package worker

import (
	"context"
	"encoding/json"
	"reflect"
	"time"

	"xvault/connectors"
)

// probeTimeout bounds a probe: someone is waiting for its answer.
const probeTimeout = 2 * time.Minute

// probe looks whether a source can be backed up, without reading content.
func (w *Worker) probe(ctx context.Context, a *attempt) outcome {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	a.progress.enter(phaseConnecting)
	source, _, err := w.openSource(a)
	if err != nil {
		return outcome{err: err}
	}
	defer w.closeSource(ctx, a, source)()
	found, err := source.Probe(ctx)
	out := outcome{err: err}
	if reflect.DeepEqual(found, connectors.ProbeResult{}) {
		return out // it failed before it saw anything
	}
	if found.Paths == nil {
		found.Paths = []connectors.ProbePath{} // a list in JSON
	}
	result, err := json.Marshal(found)
	if err != nil {
		a.log.Error("encode the result of a probe", "error", err)
		return out
	}
	out.result = result
	return out
}
