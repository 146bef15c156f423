//go:build !linux

package dumptool

import "net"

func ownProcess(net.Conn) bool { return false }
