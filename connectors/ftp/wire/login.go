package wire

import (
	"errors"
	"fmt"
	"strings"
)

// Login lets a user in and prepares the connection for transfers. A refusal is a
// *LoginError.
func (c *Conn) Login(user, password string) error {
	if !Sendable(user) || !Sendable(password) {
		return &LoginError{fmt.Errorf("the username or the password: %w", ErrName)}
	}
	// The words of both are sent as they are: servers compare bytes.
	c.telnet = plain
	r, err := c.Do("USER", user)
	if err == nil && r.Code == 331 {
		r, err = c.Do("PASS", password)
	}
	c.telnet = unknown
	switch {
	case err != nil && CodeOf(err) == 421:
		return &LoginError{err}
	case err != nil:
		return err
	case r.Code == 332:
		return &LoginError{errors.New("the server wants an account besides username and password")}
	case r.Code/100 != 2:
		return &LoginError{&ReplyError{"the login", scrub(r, password)}}
	}
	return c.prepare()
}

// LoginError says that the server did not let the user in.
type LoginError struct{ err error }

func (e *LoginError) Error() string { return e.err.Error() }

// Unwrap gives the server's reply.
func (e *LoginError) Unwrap() error { return e.err }

// scrub takes a password out of a reply that repeats it.
func scrub(r Reply, password string) Reply {
	lines := make([]string, len(r.Lines))
	for i, line := range r.Lines {
		if lines[i] = line; password != "" {
			lines[i] = strings.ReplaceAll(line, password, "***")
		}
	}
	return Reply{r.Code, lines}
}

func (c *Conn) prepare() error {
	if err := c.askFeatures(); err != nil {
		return err
	}
	if c.tls != nil {
		for _, command := range [][2]string{{"PBSZ", "0"}, {"PROT", "P"}} {
			if _, err := c.Expect(command[0], command[1]); err != nil {
				return &TLSError{fmt.Errorf("the server does not protect data connections: %w", err)}
			}
		}
	}
	if cache, ok := c.cache(); ok {
		cache.freeze()
	}
	if c.Has("UTF8") {
		if _, err := c.Do("OPTS", "UTF8 ON"); err != nil { // a refusal changes nothing: names are bytes
			return err
		}
	}
	_, err := c.Expect("TYPE", "I")
	return err
}

func (c *Conn) cache() (*sessions, bool) {
	if c.tls == nil {
		return nil, false
	}
	s, ok := c.tls.ClientSessionCache.(*sessions)
	return s, ok
}

func (c *Conn) askFeatures() error {
	c.feats = map[string]string{}
	r, err := c.Do("FEAT", "")
	if err != nil || r.Code != 211 || len(r.Lines) < 3 {
		return err // a server of before 1998 has none
	}
	for _, line := range r.Lines[1 : len(r.Lines)-1] {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		c.feats[strings.ToUpper(name)] = value
	}
	return nil
}

// Has reports whether the server has a feature, such as "MLST".
func (c *Conn) Has(feature string) bool {
	_, ok := c.feats[feature]
	return ok
}

// Feature gives a feature's parameters.
func (c *Conn) Feature(name string) string { return c.feats[name] }
