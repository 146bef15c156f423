package wire

import "encoding/binary"

func appendText(b []byte, s string) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
	return append(b, s...)
}

func (c *Client) sendText(typ byte, s string) *Call {
	return c.send(typ, nil, func(b []byte) []byte { return appendText(b, s) })
}

// Open opens a file for reading; the answer is a Handle.
func (c *Client) Open(path string) *Call {
	return c.send(typeOpen, nil, func(b []byte) []byte {
		b = appendText(b, path)
		b = append(b, 0, 0, 0, 1)    // read
		return append(b, 0, 0, 0, 0) // no attributes
	})
}

// OpenDir opens a directory; the answer is a Handle.
func (c *Client) OpenDir(path string) *Call { return c.sendText(typeOpendir, path) }

// CloseHandle closes a handle; the answer is a Status.
func (c *Client) CloseHandle(handle string) *Call { return c.sendText(typeClose, handle) }

// Read reads at an offset into a buffer, which belongs to the call until its
// Data is had.
func (c *Client) Read(handle string, offset int64, into []byte) *Call {
	return c.send(typeRead, into, func(b []byte) []byte {
		b = appendText(b, handle)
		b = binary.BigEndian.AppendUint64(b, uint64(offset))
		return binary.BigEndian.AppendUint32(b, uint32(len(into)))
	})
}

// ReadDir reads the next batch of a directory; the answer is Names.
func (c *Client) ReadDir(handle string) *Call { return c.sendText(typeReaddir, handle) }

// Lstat tells of a path, and of a link itself; the answer is Attrs.
func (c *Client) Lstat(path string) *Call { return c.sendText(typeLstat, path) }

// Stat tells of a path, and of what a link leads to; the answer is Attrs.
func (c *Client) Stat(path string) *Call { return c.sendText(typeStat, path) }

// Fstat tells of an open file; the answer is Attrs.
func (c *Client) Fstat(handle string) *Call { return c.sendText(typeFstat, handle) }

// ReadLink reads a link; the answer is a Target.
func (c *Client) ReadLink(path string) *Call { return c.sendText(typeReadlink, path) }

// RealPath resolves every link of a path; the answer is a Target.
func (c *Client) RealPath(path string) *Call { return c.sendText(typeRealpath, path) }

// Limits are a server's.
type Limits struct {
	ReadLength  int // what one read brings at most
	OpenHandles int // 0 where the server does not tell
}

// limitsExtension and namesExtension are OpenSSH's; its PROTOCOL file has them.
const (
	limitsExtension = "limits@openssh.com"
	namesExtension  = "users-groups-by-id@openssh.com"
)

// OwnerNames asks for the names of users and groups; nil where the server does
// not know the question. The answer is had with OwnerNames.
func (c *Client) OwnerNames(uids, gids []uint32) *Call {
	if v, ok := c.Extension(namesExtension); !ok || v != "1" {
		return nil
	}
	list := func(b []byte, ids []uint32) []byte {
		b = binary.BigEndian.AppendUint32(b, uint32(4*len(ids)))
		for _, id := range ids {
			b = binary.BigEndian.AppendUint32(b, id)
		}
		return b
	}
	return c.send(typeExtended, nil, func(b []byte) []byte { return list(list(appendText(b, namesExtension), uids), gids) })
}
