//go:build !linux

package devenv

import "syscall"

// Other systems have no death signal: a killed process leaves its children
// behind there.
func deathSignal(syscall.Signal) *syscall.SysProcAttr { return &syscall.SysProcAttr{} }
