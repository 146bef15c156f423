package connectors

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
)

var (
	siteHost = regexp.MustCompile(`^(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?$`)
	sitePath = regexp.MustCompile(`^(?:/[A-Za-z0-9._~-]+)*$`)
)

// CleanSiteURL checks the address of a web site, and gives it without a slash at its
// end.
func CleanSiteURL(text string) (string, error) {
	if len(text) > 500 {
		return "", errors.New("it is longer than 500 characters")
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https":
		return "", errors.New("it must be a site's address, https://new.example or with http")
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.Contains(text, "#"):
		return "", errors.New("it must be an address without a user, ? or #")
	case !siteHost.MatchString(u.Host):
		return "", fmt.Errorf("%.100q is no host, or a host and a port; a name in other letters than English ones has to be in the form that begins with xn--", u.Host)
	}
	path := strings.TrimRight(u.EscapedPath(), "/")
	if !sitePath.MatchString(path) || strings.Contains(path+"/", "/../") || strings.Contains(path+"/", "/./") {
		return "", errors.New("its path may hold letters, digits and . _ ~ - only")
	}
	return u.Scheme + "://" + strings.ToLower(u.Host) + path, nil
}
