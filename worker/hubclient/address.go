package hubclient

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
)

// parseBase checks the hub's address. Its errors do not quote a user part.
func parseBase(address string, allowPlain bool) (*url.URL, error) {
	if address == "" {
		return nil, errors.New("HUB_BASE_URL is not set; it is the hub's address, such as https://hub.example.net")
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("HUB_BASE_URL must be an http:// or https:// address")
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("HUB_BASE_URL must have no user, query or fragment")
	}
	if u.Scheme == "http" && !allowPlain && !loopback(u.Hostname()) {
		return nil, fmt.Errorf("HUB_BASE_URL is plain http to %s: anyone on the way could read this worker's token. "+
			"Use https, or set WORKER_ALLOW_PLAIN_HTTP=true if that network is yours alone", u.Hostname())
	}
	return u, nil
}

func loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
