package dumptool

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// ownProcess reports whether the other end of a local connection belongs to this
// process's user. In doubt it does not.
func ownProcess(conn net.Conn) bool {
	switch c := conn.(type) {
	case *net.UnixConn:
		return socketUID(c) == os.Geteuid()
	case *net.TCPConn:
		return portUID(c) == os.Geteuid()
	default:
		return false
	}
}

// nobody is the answer where an owner cannot be told.
const nobody = -1

func socketUID(c *net.UnixConn) int {
	raw, err := c.SyscallConn()
	if err != nil {
		return nobody
	}
	uid := nobody
	err = raw.Control(func(fd uintptr) {
		if cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			uid = int(cred.Uid)
		}
	})
	if err != nil {
		return nobody
	}
	return uid
}

// portUID looks the other end up in the kernel's table of connections, whose
// columns are: number, local address, remote address, state, two pairs, uid, ...
func portUID(c *net.TCPConn) int {
	here, ok1 := c.LocalAddr().(*net.TCPAddr)
	there, ok2 := c.RemoteAddr().(*net.TCPAddr)
	if !ok1 || !ok2 {
		return nobody
	}
	table, err := os.Open("/proc/self/net/tcp")
	if err != nil {
		return nobody
	}
	defer closeQuietly(table)
	local, remote := tableAddress(there.AddrPort()), tableAddress(here.AddrPort())
	lines := bufio.NewScanner(table)
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		const established = "01"
		if len(f) < 8 || f[1] != local || f[2] != remote || f[3] != established {
			continue
		}
		uid, err := strconv.Atoi(f[7])
		if err != nil {
			return nobody
		}
		return uid
	}
	return nobody
}

// tableAddress is an IPv4 address as that table has it: on a little-endian machine
// its bytes stand backwards.
func tableAddress(a netip.AddrPort) string {
	b := a.Addr().Unmap().As4()
	if littleEndian() {
		slices.Reverse(b[:])
	}
	return fmt.Sprintf("%s:%04X", strings.ToUpper(hex.EncodeToString(b[:])), a.Port())
}

func littleEndian() bool {
	var b [2]byte
	binary.NativeEndian.PutUint16(b[:], 1)
	return b[0] == 1
}
