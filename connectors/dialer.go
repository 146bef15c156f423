package connectors

import (
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// DialerConfig says which addresses a worker may connect to.
type DialerConfig struct {
	// RefusePrivate also forbids loopback and private ranges, for a worker that
	// reads servers on the internet for people it does not trust.
	RefusePrivate bool
	// Timeout bounds one attempt to connect; 0 means 15 s.
	Timeout time.Duration
}

// NewDialer makes the guarded dialer. The address that is checked is the one
// that the connection is then made to, after the name was resolved, so that a
// name which resolves to something else a moment later gains nothing.
func NewDialer(cfg DialerConfig) Dialer {
	if cfg.Timeout == 0 {
		cfg.Timeout = 15 * time.Second
	}
	guard := guard{cfg.RefusePrivate}
	return &net.Dialer{
		Timeout: cfg.Timeout,
		Control: guard.control,
		// A peer that vanished without a word is noticed within about a minute.
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 15 * time.Second, Count: 3},
	}
}

// ForbiddenAddressError says that a connection was refused before it was made.
type ForbiddenAddressError struct {
	Address string
	Why     string
}

func (e *ForbiddenAddressError) Error() string {
	return fmt.Sprintf("connections to %s are not allowed: it is %s", e.Address, e.Why)
}

type guard struct{ refusePrivate bool }

// control runs between resolving and connecting, once for each address tried.
func (g guard) control(_, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return &ForbiddenAddressError{address, "not an IP address"}
	}
	if why := g.forbidden(ap.Addr()); why != "" {
		return &ForbiddenAddressError{ap.Addr().String(), why}
	}
	return nil
}

// forbidden says why an address must not be connected to, empty where it may.
func (g guard) forbidden(addr netip.Addr) string {
	for _, a := range meanings(addr.WithZone("")) {
		if why := never(a); why != "" {
			return why
		}
		if g.refusePrivate && private(a) {
			return "a private address, which this worker is set to refuse"
		}
	}
	return ""
}

func never(a netip.Addr) string {
	switch {
	case contains(metadataAddresses, a):
		return "a cloud's metadata service"
	case a.IsLinkLocalUnicast():
		return "a link-local address"
	case a.IsMulticast():
		return "a multicast address"
	case a.IsUnspecified() || a.Is4() && a.As4()[0] == 0:
		return "not the address of a host"
	case a.Is4() && a.As4() == [4]byte{255, 255, 255, 255}:
		return "the broadcast address"
	default:
		return ""
	}
}

func private(a netip.Addr) bool {
	return a.IsLoopback() || a.IsPrivate() || contains(privateRanges, a)
}

func contains(ranges []netip.Prefix, a netip.Addr) bool {
	for _, r := range ranges {
		if r.Contains(a) {
			return true
		}
	}
	return false
}

// metadataAddresses are those that are not link-local anyway.
var metadataAddresses = []netip.Prefix{
	netip.MustParsePrefix("168.63.129.16/32"),   // Azure
	netip.MustParsePrefix("100.100.100.200/32"), // Alibaba
	netip.MustParsePrefix("192.0.0.192/32"),     // Oracle
	netip.MustParsePrefix("fd00:ec2::/32"),      // AWS
	netip.MustParsePrefix("fd20:ce::254/128"),   // Google
	netip.MustParsePrefix("fd00:42::42/128"),    // Scaleway
}

// privateRanges are those that netip does not call private.
var privateRanges = []netip.Prefix{
	netip.MustParsePrefix("100.64.0.0/10"), // carrier-grade NAT
	netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"), // benchmarks
	netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("fec0::/10"),      // site-local, the older ULA
	netip.MustParsePrefix("64:ff9b:1::/48"), // local NAT64
}

// embedding are the ranges of IPv6 that carry an IPv4 address at a fixed place:
// a translator on the way would connect to that.
var embedding = []struct {
	prefix netip.Prefix
	at     int
}{
	{netip.MustParsePrefix("::/96"), 12},        // IPv4-compatible
	{netip.MustParsePrefix("64:ff9b::/96"), 12}, // NAT64
	{netip.MustParsePrefix("64:ff9b:1::/48"), 12},
	{netip.MustParsePrefix("2002::/16"), 2}, // 6to4
}

// meanings lists what an address may stand for: itself, and an IPv4 address
// inside it.
func meanings(a netip.Addr) []netip.Addr {
	a = a.Unmap()
	list := []netip.Addr{a}
	if a.IsLoopback() || a.IsUnspecified() {
		return list
	}
	b := a.As16()
	for _, e := range embedding {
		if a.Is6() && e.prefix.Contains(a) {
			list = append(list, netip.AddrFrom4([4]byte(b[e.at:e.at+4])))
		}
	}
	return list
}
