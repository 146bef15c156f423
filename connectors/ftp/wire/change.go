package wire

import (
	"fmt"
	"strings"
	"time"
)

// change is Expect for a command that names something, after it was found out how the
// server takes the name.
func (c *Conn) change(verb, words, name string) error {
	if !Sendable(name) {
		return ErrName
	}
	if err := c.askTelnet(name); err != nil {
		return err
	}
	_, err := c.Expect(verb, words+Relative(name))
	return err
}

// Mkdir makes a folder. A refusal is a *ReplyError, as with all that change something.
func (c *Conn) Mkdir(name string) error {
	if strings.HasSuffix(name, " ") {
		name += "/" // pure-ftpd drops spaces at the end
	}
	return c.change("MKD", "", name)
}

// Rmdir removes an empty folder.
func (c *Conn) Rmdir(name string) error { return c.change("RMD", "", name) }

// Remove removes what is no folder.
func (c *Conn) Remove(name string) error { return c.change("DELE", "", name) }

// Rename gives something another name, and on most servers replaces what has it.
func (c *Conn) Rename(from, to string) error {
	if !Sendable(from) || !Sendable(to) {
		return ErrName
	}
	if err := c.askTelnet(from + to); err != nil {
		return err
	}
	if _, err := c.expect(3, "RNFR", Relative(from)); err != nil {
		return err
	}
	_, err := c.Expect("RNTO", Relative(to))
	return err
}

// Chmod sets the mode of a file or folder, on servers that know SITE CHMOD.
func (c *Conn) Chmod(name string, mode uint32) error {
	return c.change("SITE", fmt.Sprintf("CHMOD %04o ", mode), name)
}

// SetModified sets the time of a file or folder to the second: with MFMT where there
// is one, else with MDTM, which some servers take for that.
func (c *Conn) SetModified(name string, at time.Time) error {
	verb := "MDTM"
	if c.Has("MFMT") {
		verb = "MFMT"
	}
	return c.change(verb, FormatTime(at)+" ", name)
}

// Facts gives what MLST tells of a name: a line as MLSD has them.
func (c *Conn) Facts(name string) (string, error) {
	if err := c.askTelnet(name); err != nil {
		return "", err
	}
	r, err := c.Expect("MLST", Relative(name))
	if err != nil {
		return "", err
	}
	if len(r.Lines) < 3 {
		return "", &ReplyError{"MLST", r}
	}
	return strings.TrimPrefix(r.Lines[1], " "), nil
}
