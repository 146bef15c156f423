package connectors

import (
	"net/netip"
	"testing"
)

func TestGuardRefusesForbiddenAddresses(t *testing.T) {
	t.Parallel()
	const always, private, fine = 0, 1, 2
	cases := map[string]int{
		"169.254.169.254": always, "169.254.1.1": always, "fe80::1": always, "fe80::1%lo": always,
		"::ffff:169.254.169.254": always, "64:ff9b::a9fe:a9fe": always, "2002:a9fe:a9fe::1": always,
		"::169.254.169.254": always, "fd00:ec2::254": always, "168.63.129.16": always, "100.100.100.200": always,
		"0.0.0.0": always, "0.1.2.3": always, "::": always, "224.0.0.1": always, "ff02::1": always, "255.255.255.255": always,
		"127.0.0.1": private, "::1": private, "::ffff:10.0.0.1": private, "10.1.2.3": private, "172.16.0.1": private,
		"192.168.1.1": private, "100.64.0.1": private, "fd12::1": private, "64:ff9b::a00:1": private, "fec0::1": private,
		"8.8.8.8": fine, "2001:4860:4860::8888": fine, "172.32.0.1": fine, "64:ff9b::808:808": fine,
	}
	for address, want := range cases {
		for _, refusePrivate := range []bool{false, true} {
			forbidden := want == always || refusePrivate && want == private
			why := guard{refusePrivate}.forbidden(netip.MustParseAddr(address))
			if got := why != ""; got != forbidden {
				t.Errorf("%s with refusePrivate %v: refused %v (%s), want %v", address, refusePrivate, got, why, forbidden)
			}
		}
	}
}
