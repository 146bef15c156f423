package devenv

import (
	"fmt"
	"net"
)

// FreePort finds a loopback port that nothing listens on. It may be taken again
// before it is used, so callers that start a program retry.
func FreePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // returns at once
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	addr, ok := l.Addr().(*net.TCPAddr)
	if err := l.Close(); err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	if !ok {
		return 0, fmt.Errorf("find a free port: %v is not a TCP address", l.Addr())
	}
	return addr.Port, nil
}
