package dumptool

// Trailer makes a Check that looks at the last bytes of a dump, at most so many:
// most programs end a whole dump with a line that says so.
func Trailer(bytes int, judge func(end []byte) error) Check {
	return &trailer{judge: judge, size: bytes}
}

type trailer struct {
	judge func([]byte) error
	size  int
	end   []byte
}

// Write implements Check.
func (t *trailer) Write(p []byte) (int, error) {
	if len(p) >= t.size {
		t.end = append(t.end[:0], p[len(p)-t.size:]...)
		return len(p), nil
	}
	if extra := len(t.end) + len(p) - t.size; extra > 0 {
		t.end = append(t.end[:0], t.end[extra:]...)
	}
	t.end = append(t.end, p...)
	return len(p), nil
}

// Verdict implements Check.
func (t *trailer) Verdict() error { return t.judge(t.end) }

// Close implements Check.
func (t *trailer) Close() error { return nil }
