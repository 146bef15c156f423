package sftp

import "testing"

func TestProcessorsTellAShare(t *testing.T) {
	t.Parallel()
	var p processors
	if b := p.busy(); b != 0 {
		t.Errorf("%v before anything was measured", b)
	}
	for range 5 {
		if b := p.busy(); b < 0 || b > 1 {
			t.Errorf("busy for %v of the time", b)
		}
	}
}
