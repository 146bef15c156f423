package wire

import "strings"

// iac begins a command of Telnet, whose rules FTP borrows: in a name, the byte is
// sent twice. Some servers keep to that, others take both.
const iac = "\xff"

// telnetState says whether the server undoes the doubling.
type telnetState int

const (
	unknown telnetState = iota
	doubles
	plain
)

func (t telnetState) encode(arg string) string {
	if t == plain {
		return arg
	}
	return strings.ReplaceAll(arg, iac, iac+iac)
}

// askTelnet finds out how the server takes the byte 0xff, before a name that has it
// is sent: from the way in which it repeats a name that it does not know. A server
// that repeats nothing gets the byte as it is.
func (c *Conn) askTelnet(name string) error {
	if c.telnet != unknown || !strings.Contains(name, iac) {
		return nil
	}
	r, err := c.Do("SIZE", "/xvault"+iac+iac) // sent as four
	if err != nil {
		return err
	}
	c.telnet = plain
	if _, after, ok := strings.Cut(r.Text(), "/xvault"+iac+iac); ok && !strings.HasPrefix(after, iac) {
		c.telnet = doubles
	}
	return nil
}

// samePath compares paths of which one comes from a server's reply.
func samePath(a, b string) bool {
	return a == b || strings.ReplaceAll(a, iac+iac, iac) == strings.ReplaceAll(b, iac+iac, iac)
}
