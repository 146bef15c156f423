package system

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
)

// taken holds the ports that this process handed out.
var taken sync.Map

// FreePort gives a loopback port for a process that is started (and started
// again) later. It lies below the range from which the kernel takes ports for
// outgoing connections, which might otherwise be faster.
func FreePort(t testing.TB) int {
	t.Helper()
	for range 200 {
		port := 10000 + rand.IntN(20000)
		if _, used := taken.LoadOrStore(port, true); used {
			continue
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		return port
	}
	t.Fatal("no free port below 30000")
	return 0
}
