// Package loopback tells this machine from others: what goes in clear stays on
// the first.
package loopback

import "net"

// Host reports whether a host, as it stands in an address, is this machine
// under its loopback name or number.
func Host(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// Peer reports whether a connection from remoteAddr, "host:port", began on this
// machine.
func Peer(remoteAddr string) bool {
	host, _, err := net.SplitHostPort(remoteAddr)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
