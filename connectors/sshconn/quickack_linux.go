package sshconn

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// acknowledge has the kernel tell the server at once that bytes came. It would wait
// up to 40 ms for something to send along; and until it hears that, a server that
// does not turn Nagle's algorithm off, as OpenSSH, holds its next short answer back.
func acknowledge(conn net.Conn) {
	if limited, ok := conn.(interface{ Under() net.Conn }); ok {
		conn = limited.Under()
	}
	s, ok := conn.(syscall.Conn)
	if !ok {
		return
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1) // slower without, no more
	})
}
