package worker

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"time"

	"xvault/connectors"
	"xvault/internal/job"
)

// probeTimeout bounds a probe: someone is waiting for its answer.
const probeTimeout = 2 * time.Minute

// probe looks whether a source can be backed up, without reading content.
func (w *Worker) probe(ctx context.Context, a *attempt) outcome {
	ctx, cancel := context.WithTimeoutCause(ctx, probeTimeout,
		job.Errorf(job.Timeout, "The source did not answer everything within %v.", probeTimeout))
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
	result, err := encodeProbe(found)
	if err != nil {
		a.log.Error("encode the result of a probe", "error", err)
		return out
	}
	out.result = result
	return out
}

// encodeProbe leaves paths out where a result cannot hold them all, the
// reachable ones first, and says so.
func encodeProbe(found connectors.ProbeResult) ([]byte, error) {
	all := len(found.Paths)
	warnings := found.Warnings
	for limit := all; ; limit /= 2 {
		if limit < all {
			found.Paths = firstPaths(found.Paths, limit)
			note := fmt.Sprintf("%d of %d paths are shown, for all are too long a list", limit, all)
			found.Warnings = append([]string{note}, warnings[:min(len(warnings), limit)]...)
		}
		result, err := json.Marshal(found)
		if err != nil || len(result) <= maxResult || limit == 0 {
			return result, err
		}
	}
}

// firstPaths keeps the unreachable ones first, in their order.
func firstPaths(paths []connectors.ProbePath, limit int) []connectors.ProbePath {
	sorted := slices.Clone(paths)
	slices.SortStableFunc(sorted, func(a, b connectors.ProbePath) int {
		switch {
		case a.Reachable == b.Reachable:
			return 0
		case b.Reachable:
			return -1
		default:
			return 1
		}
	})
	return sorted[:limit]
}
