package wire

import (
	"crypto/tls"
	"sync"
)

// sessions keeps the TLS session of one control connection for its data
// connections. Servers compare a data connection's session with that of the control
// connection, so what data connections bring later does not replace it, unless there
// is nothing yet.
type sessions struct {
	mu      sync.Mutex
	session *tls.ClientSessionState
	frozen  bool
}

// Get implements tls.ClientSessionCache.
func (s *sessions) Get(string) (*tls.ClientSessionState, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.session, s.session != nil
}

// Put implements tls.ClientSessionCache.
func (s *sessions) Put(_ string, session *tls.ClientSessionState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if session != nil && !s.frozen {
		s.session = session
	}
}

// freeze keeps what there is.
func (s *sessions) freeze() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.frozen = s.session != nil
}
