package wordpress

import (
	"net/netip"
	"regexp"
	"strconv"
	"strings"

	"xvault/internal/job"
)

// address is where a site's database listens, as the site's machine sees it.
type address struct {
	host   string // empty where there is a socket
	port   int
	socket string
	// local says that the setting is "localhost": PHP then takes the socket that it was
	// built with, whatever the port.
	local bool
}

const databasePort = 3306

// hostPattern is a host that is no IPv6 address, and a port: anything behind that,
// WordPress does not look at.
var hostPattern = regexp.MustCompile(`^([^:/]*)(?::([0-9]+))?`)

// parseHost reads DB_HOST as WordPress does: host, host:port, host:/socket,
// host:port:/socket, :/socket, [::1]:3306.
func parseHost(setting string) (address, error) {
	host, socket, ok := strings.Cut(setting, ":/")
	if ok {
		return address{socket: "/" + socket}, nil
	}
	number := ""
	if strings.Count(host, ":") > 1 {
		inner := host
		if bracketed, ok := strings.CutPrefix(host, "["); ok {
			inner, number, _ = strings.Cut(bracketed, "]")
			number = strings.TrimPrefix(number, ":")
		}
		if ip, err := netip.ParseAddr(inner); err != nil || !ip.Is6() {
			return address{}, badHost(setting)
		}
		host = inner
	} else {
		m := hostPattern.FindStringSubmatch(host)
		host, number = m[1], m[2]
	}
	a := address{host: host, port: databasePort}
	if number != "" {
		port, err := strconv.Atoi(number)
		if err != nil || port < 1 || port > 65535 {
			return address{}, badHost(setting)
		}
		a.port = port
	}
	if a.host == "" || strings.EqualFold(a.host, "localhost") {
		a.host, a.local = "localhost", true
	}
	return a, nil
}

func badHost(setting string) error {
	return job.Errorf(job.ConfigInvalid, "DB_HOST in %s is %.100q, which is no host, host:port or host:/path/of/socket", configName, setting)
}

// usualSockets are where servers put theirs, as PHP was built to know it.
var usualSockets = []string{
	"/run/mysqld/mysqld.sock", "/var/run/mysqld/mysqld.sock", "/var/lib/mysql/mysql.sock",
	"/tmp/mysql.sock", "/var/mysql/mysql.sock", "/run/mysql/mysql.sock", "/var/lib/mysql/mysqld.sock",
}
