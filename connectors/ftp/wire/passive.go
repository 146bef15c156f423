package wire

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
)

// connectData makes a data connection, to the address that the control connection
// has: EPSV first, PASV where that is not known.
func (c *Conn) connectData(ctx context.Context) (*patient, error) {
	port, err := c.passivePort()
	if err != nil {
		return nil, err
	}
	conn, err := c.cfg.Dial(ctx, "tcp", net.JoinHostPort(c.remote, strconv.Itoa(port)))
	if err != nil {
		return nil, &DataError{fmt.Errorf("port %d, which the server named: %w", port, err)}
	}
	data := newPatient(conn, c.cfg.Patience)
	return data, c.keep(data)
}

// DataError says that a data connection could not be made, or broke.
type DataError struct{ err error }

func (e *DataError) Error() string { return "data connection: " + e.err.Error() }

// Unwrap gives the cause.
func (e *DataError) Unwrap() error { return e.err }

func (c *Conn) passivePort() (int, error) {
	if !c.noEPSV {
		r, err := c.Do("EPSV", "")
		if err != nil {
			return 0, err
		}
		if r.Code == 229 {
			return c.port(epsvPort(r.Text()))
		}
		if r.Code/100 != 5 {
			return 0, &ReplyError{"EPSV", r}
		}
		c.noEPSV = true
	}
	r, err := c.Do("PASV", "")
	if err != nil {
		return 0, err
	}
	if r.Code != 227 {
		return 0, &ReplyError{"PASV", r}
	}
	return c.port(pasvPort(r.Text()))
}

func (c *Conn) port(port int, ok bool) (int, error) {
	if !ok || port < 1 || port > 65535 {
		return 0, c.fail(errors.New("the server's reply names no port for the data connection"))
	}
	return port, nil
}

// epsvPort reads "Entering Extended Passive Mode (|||6446|)".
func epsvPort(text string) (int, bool) {
	_, rest, ok := strings.Cut(text, "(")
	if !ok || len(rest) < 5 || rest[0] != rest[1] || rest[1] != rest[2] {
		return 0, false
	}
	digits, _, ok := strings.Cut(rest[3:], rest[:1])
	port, err := strconv.Atoi(digits)
	return port, ok && err == nil
}

// pasvPort reads the last two numbers of "Entering Passive Mode (h1,h2,h3,h4,p1,p2)",
// where not every server has the brackets.
func pasvPort(text string) (int, bool) {
	numbers := strings.FieldsFunc(text, func(r rune) bool { return r != ',' && (r < '0' || r > '9') })
	for _, group := range numbers {
		parts := strings.Split(group, ",")
		if len(parts) != 6 {
			continue
		}
		high, err1 := strconv.ParseUint(parts[4], 10, 8)
		low, err2 := strconv.ParseUint(parts[5], 10, 8)
		return int(high)<<8 | int(low), err1 == nil && err2 == nil
	}
	return 0, false
}
