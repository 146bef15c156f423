//go:build !linux

package heap

func preferLargePages(int) {}
