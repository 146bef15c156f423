package wire

import "encoding/binary"

// Packet types of requests that change something. A source is read without any
// of them.
const (
	typeWrite    = 6
	typeSetstat  = 9
	typeFsetstat = 10
	typeRemove   = 13
	typeMkdir    = 14
	typeRename   = 18
	typeSymlink  = 20
)

// Extensions are OpenSSH's; its PROTOCOL file has them.
const (
	posixRenameExtension = "posix-rename@openssh.com"
	hardlinkExtension    = "hardlink@openssh.com"
	lsetstatExtension    = "lsetstat@openssh.com"
	statvfsExtension     = "statvfs@openssh.com"
	fsyncExtension       = "fsync@openssh.com"
)

// Abilities are what a server offers beyond the protocol.
type Abilities struct {
	PosixRename, Hardlink, Lsetstat, StatVFS, Fsync bool
}

// OfOpenSSH reports whether the server has any of them. Those that do order the
// two paths of a symbolic link as OpenSSH does, and not as the protocol has it.
func (a Abilities) OfOpenSSH() bool { return a != Abilities{} }

// Abilities tells what the server announced.
func (c *Client) Abilities() Abilities {
	has := func(name, version string) bool {
		v, ok := c.Extension(name)
		return ok && v == version
	}
	return Abilities{
		PosixRename: has(posixRenameExtension, "1"), Hardlink: has(hardlinkExtension, "1"), Lsetstat: has(lsetstatExtension, "1"),
		StatVFS: has(statvfsExtension, "2"), Fsync: has(fsyncExtension, "1"),
	}
}

// appendAttrs encodes the fields that are there; a size is never sent.
func appendAttrs(b []byte, a Attrs) []byte {
	var flags uint32
	if a.HasOwner {
		flags |= attrOwner
	}
	if a.HasMode {
		flags |= attrMode
	}
	if a.HasTimes {
		flags |= attrTimes
	}
	b = binary.BigEndian.AppendUint32(b, flags)
	if a.HasOwner {
		b = binary.BigEndian.AppendUint32(b, a.UID)
		b = binary.BigEndian.AppendUint32(b, a.GID)
	}
	if a.HasMode {
		b = binary.BigEndian.AppendUint32(b, a.Mode)
	}
	if a.HasTimes {
		b = binary.BigEndian.AppendUint32(b, a.ModTime) // of access
		b = binary.BigEndian.AppendUint32(b, a.ModTime)
	}
	return b
}

// Create makes a file that must not be there yet and opens it for writing, with
// the permissions given; the answer is a Handle. No link is followed.
func (c *Client) Create(path string, mode uint32) *Call {
	return c.send(typeOpen, nil, func(b []byte) []byte {
		b = appendText(b, path)
		b = binary.BigEndian.AppendUint32(b, 0x02|0x08|0x20) // write, create, exclusively
		return appendAttrs(b, Attrs{HasMode: true, Mode: mode})
	})
}

// Write writes at an offset; the answer is a Status. The data is copied before
// Write returns.
func (c *Client) Write(handle string, offset int64, data []byte) *Call {
	return c.send(typeWrite, nil, func(b []byte) []byte {
		b = appendText(b, handle)
		b = binary.BigEndian.AppendUint64(b, uint64(offset))
		b = binary.BigEndian.AppendUint32(b, uint32(len(data)))
		return append(b, data...)
	})
}

// Fsetstat changes attributes of an open file; the answer is a Status.
func (c *Client) Fsetstat(handle string, a Attrs) *Call {
	return c.send(typeFsetstat, nil, func(b []byte) []byte { return appendAttrs(appendText(b, handle), a) })
}

// Setstat changes attributes of a path, of what a link leads to; the answer is a
// Status.
func (c *Client) Setstat(path string, a Attrs) *Call {
	return c.send(typeSetstat, nil, func(b []byte) []byte { return appendAttrs(appendText(b, path), a) })
}

// Lsetstat changes attributes of a path, of a link itself; the answer is a Status.
// It needs the ability.
func (c *Client) Lsetstat(path string, a Attrs) *Call {
	return c.send(typeExtended, nil, func(b []byte) []byte {
		return appendAttrs(appendText(appendText(b, lsetstatExtension), path), a)
	})
}

// Fsync has an open file written to the disk; the answer is a Status. It needs the
// ability.
func (c *Client) Fsync(handle string) *Call {
	return c.send(typeExtended, nil, func(b []byte) []byte { return appendText(appendText(b, fsyncExtension), handle) })
}

// Mkdir makes a directory; the answer is a Status.
func (c *Client) Mkdir(path string, mode uint32) *Call {
	return c.send(typeMkdir, nil, func(b []byte) []byte {
		return appendAttrs(appendText(b, path), Attrs{HasMode: true, Mode: mode})
	})
}

// Remove removes a file or a link; the answer is a Status.
func (c *Client) Remove(path string) *Call { return c.sendText(typeRemove, path) }

// Rename gives a new name that must be free; the answer is a Status. Some servers
// replace what is there nevertheless.
func (c *Client) Rename(from, to string) *Call {
	return c.send(typeRename, nil, func(b []byte) []byte { return appendText(appendText(b, from), to) })
}

// Replace gives a new name and takes it from whatever file has it, at one
// stroke; the answer is a Status. It needs the ability PosixRename.
func (c *Client) Replace(from, to string) *Call {
	return c.send(typeExtended, nil, func(b []byte) []byte {
		return appendText(appendText(appendText(b, posixRenameExtension), from), to)
	})
}

// Symlink makes a symbolic link at path with that text; the answer is a Status.
// The order on the wire is OpenSSH's.
func (c *Client) Symlink(text, path string) *Call {
	return c.send(typeSymlink, nil, func(b []byte) []byte { return appendText(appendText(b, text), path) })
}

// Link gives a file another name; the answer is a Status. It needs the ability
// Hardlink.
func (c *Client) Link(file, path string) *Call {
	return c.send(typeExtended, nil, func(b []byte) []byte {
		return appendText(appendText(appendText(b, hardlinkExtension), file), path)
	})
}

// Volume is the file system that a path is on.
type Volume struct {
	FreeBytes uint64 // for whoever is logged in
	FreeFiles uint64
	Files     uint64 // 0 where it does not count them
	ReadOnly  bool
}

// StatVFS asks for the file system of a path; the answer is a Volume. It needs the
// ability.
func (c *Client) StatVFS(path string) *Call {
	return c.send(typeExtended, nil, func(b []byte) []byte { return appendText(appendText(b, statvfsExtension), path) })
}

// Volume waits for what StatVFS asked for.
func (call *Call) Volume() (Volume, error) {
	d, err := call.expect(typeExtendedReply)
	if err != nil {
		return Volume{}, err
	}
	_, size, _, _, free := d.u64(), d.u64(), d.u64(), d.u64(), d.u64()
	files, _, freeFiles, _, flags := d.u64(), d.u64(), d.u64(), d.u64(), d.u64()
	if size > 0 && free > 1<<63/size {
		free = 1 << 63 / size
	}
	return Volume{FreeBytes: free * size, FreeFiles: freeFiles, Files: files, ReadOnly: flags&1 != 0}, d.err
}
