package sftp

import (
	"testing"

	"github.com/prometheus/procfs"
)

func TestBusyShare(t *testing.T) {
	t.Parallel()
	before := procfs.CPUStat{User: 10, System: 5, Idle: 100, Iowait: 20}
	for what, c := range map[string]struct {
		after procfs.CPUStat
		want  float64
	}{
		"no time passed":        {before, 0},
		"idle":                  {procfs.CPUStat{User: 10, System: 5, Idle: 108, Iowait: 22}, 0},
		"busy":                  {procfs.CPUStat{User: 13, System: 6, Idle: 100, Iowait: 20, Steal: 4}, 1},
		"three quarters":        {procfs.CPUStat{User: 12, System: 6, Idle: 101, Iowait: 20}, 0.75},
		"iowait that went back": {procfs.CPUStat{User: 14, System: 5, Idle: 100, Iowait: 18}, 1},
	} {
		if got := busyShare(before, c.after); got != c.want {
			t.Errorf("%s: %v, not %v", what, got, c.want)
		}
	}
	var p processors
	if first := p.busy(); first != 0 {
		t.Errorf("%v before anything was measured", first)
	}
	if p.known && p.last.Idle == 0 {
		t.Error("the machine's times are not read")
	}
}
