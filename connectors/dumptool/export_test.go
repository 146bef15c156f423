package dumptool

// LocalAddr is what a test connects to itself.
func (r *Relay) LocalAddr() string {
	if r.folder == "" {
		return r.Addr()
	}
	return r.localAddr()
}
