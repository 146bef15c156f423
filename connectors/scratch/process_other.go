//go:build !linux

package scratch

import (
	"errors"
	"net"
)

// process does not exist elsewhere: without the kernel's help a killed worker would
// leave servers behind.
type process struct {
	name string
	said tail
	done chan struct{}
	err  error
}

type confinement struct{}

func strict(account) confinement { return confinement{} }

func (confinement) notes(account) []string { return nil }

func (*process) stop() {}

func (*Room) settle() string { return "" }

func (*Room) launch(Program) (*process, error) {
	return nil, errors.New("scratch servers run on Linux only")
}

func (*Room) free() (int64, error) { return 0, errors.New("scratch servers run on Linux only") }

func (account) listens(net.Conn) bool { return false }
