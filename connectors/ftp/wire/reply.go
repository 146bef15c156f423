package wire

import (
	"bufio"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Bounds of what a server may say.
const (
	maxLine       = 16 << 10 // bytes
	maxReplyLines = 1000
	maxReply      = 256 << 10
	maxWaits      = 10 // preliminary replies to one command
)

// Reply is what the server says to a command.
type Reply struct {
	Code int
	// Lines are without code and line ends; of inner lines, leading spaces stay.
	Lines []string
}

// Text is all lines in one.
func (r Reply) Text() string { return strings.Join(r.Lines, " ") }

// ReplyError is a reply that was not what it should be.
type ReplyError struct {
	Verb string // of the command; its argument is left out, for it may be secret
	Reply
}

func (e *ReplyError) Error() string {
	text := fmt.Sprintf("%d %s", e.Code, e.Text())
	if e.Verb == "" {
		return "the server says " + strconv.Quote(text)
	}
	return fmt.Sprintf("the server says %q to %s", text, e.Verb)
}

// CodeOf is the code of a reply that is an error, 0 for other errors.
func CodeOf(err error) int {
	if reply, ok := errors.AsType[*ReplyError](err); ok {
		return reply.Code
	}
	return 0
}

// ErrName says that a name cannot be part of a command.
var ErrName = errors.New("the name holds a line break or a NUL, which no FTP command can")

// Sendable reports whether a name can be part of a command.
func Sendable(name string) bool { return !strings.ContainsAny(name, "\r\n\x00") }

// Do sends a command and gives the final reply, whatever it is.
func (c *Conn) Do(verb, arg string) (Reply, error) {
	if err := c.send(verb, arg); err != nil {
		return Reply{}, err
	}
	return c.final(verb)
}

// expect is Do for a reply of one kind: 2 for 2xx and so on.
func (c *Conn) expect(kind int, verb, arg string) (Reply, error) {
	r, err := c.Do(verb, arg)
	if err == nil && r.Code/100 != kind {
		err = &ReplyError{verb, r}
	}
	return r, err
}

// Expect is Do for a reply that completes the command: 2xx.
func (c *Conn) Expect(verb, arg string) (Reply, error) { return c.expect(2, verb, arg) }

func (c *Conn) final(verb string) (Reply, error) {
	for range maxWaits {
		r, err := c.read(verb)
		if err != nil || r.Code >= 200 {
			return r, err
		}
	}
	return Reply{}, c.fail(errors.New("the server announces a reply without end"))
}

func (c *Conn) send(verb, arg string) error {
	if c.broken != nil {
		return c.broken
	}
	if !Sendable(arg) {
		return ErrName
	}
	line := verb
	if arg != "" {
		line += " " + c.telnet.encode(arg)
	}
	if _, err := c.ctrl.Write([]byte(line + "\r\n")); err != nil {
		return c.fail(fmt.Errorf("send %s: %w", verb, err))
	}
	return nil
}

// fail notes that the connection is of no use any more.
func (c *Conn) fail(err error) error {
	if c.broken == nil {
		c.broken = &BrokenError{err}
	}
	return c.broken
}

// BrokenError says that a connection ended, or that what came over it is no FTP.
type BrokenError struct{ err error }

func (e *BrokenError) Error() string { return e.err.Error() }

// Unwrap gives the cause.
func (e *BrokenError) Unwrap() error { return e.err }

// read takes one reply.
func (c *Conn) read(verb string) (Reply, error) {
	if c.broken != nil {
		return Reply{}, c.broken
	}
	r, err := readReply(c.in)
	if err != nil {
		if verb != "" {
			err = fmt.Errorf("answer to %s: %w", verb, err)
		}
		return r, c.fail(err)
	}
	if r.Code == 421 { // the server closes
		return r, c.fail(&ReplyError{verb, r})
	}
	return r, nil
}

func readReply(in *bufio.Reader) (Reply, error) {
	line, err := readLine(in)
	if err != nil {
		return Reply{}, err
	}
	code, more, ok := codeOf(line)
	if !ok {
		return Reply{}, fmt.Errorf("%.100q is no reply of an FTP server", line)
	}
	r := Reply{code, []string{line[min(4, len(line)):]}}
	for total := len(line); more; {
		if line, err = readLine(in); err != nil {
			return r, err
		}
		if total += len(line) + 1; total > maxReply || len(r.Lines) == maxReplyLines {
			return r, errors.New("the server's reply is too long")
		}
		if again, goesOn, ok := codeOf(line); ok && again == code {
			line, more = line[min(4, len(line)):], goesOn
		}
		r.Lines = append(r.Lines, line)
	}
	return r, nil
}

// codeOf reads the start of a line; more says that other lines follow.
func codeOf(line string) (code int, more, ok bool) {
	if len(line) < 3 || len(line) > 3 && line[3] != ' ' && line[3] != '-' {
		return 0, false, false
	}
	for _, digit := range []byte(line[:3]) {
		if digit < '0' || digit > '9' {
			return 0, false, false
		}
		code = 10*code + int(digit-'0')
	}
	return code, len(line) > 3 && line[3] == '-', code >= 100 && code < 700
}

func readLine(in *bufio.Reader) (string, error) {
	b, err := in.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return "", fmt.Errorf("the server's line is longer than %d bytes", maxLine)
	}
	if err != nil {
		return "", err
	}
	return strings.TrimSuffix(string(b[:len(b)-1]), "\r"), nil
}
