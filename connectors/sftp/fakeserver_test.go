package sftp_test

import (
	"encoding/binary"
	"io"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"
)

// fakeNode is a file of a fake server.
type fakeNode struct {
	mode uint32
	data string
	size uint64 // what the server says; 0 means the truth
	link string
}

// fakeServer serves files that exist nowhere, and misbehaves where it is told to.
type fakeServer struct {
	mu    sync.Mutex
	nodes map[string]fakeNode
	// batches gives the names of a directory, batch by batch, in place of those
	// in nodes; nil ends them.
	batches func(dir string, n int) []string
	// answer replaces the answer to a request; nil means the usual one.
	answer func(typ byte, id uint32, body []byte) []byte
	// longOnly tells the type of a file in its long name only.
	longOnly bool
	numbered bool     // its handles are numbers from 0 on, as OpenSSH's are, and it sets the attributes of links
	openssh  bool     // greets as OpenSSH does, so that several batches are asked for at once
	limits   []uint64 // of a packet, a read, a write and open files; nil: it refuses to tell
	maxRead  int      // a read brings no more than this; 0 means all
	maxOpen  int      // files open at once; 0 means any number

	open    map[string]*fakeOpen // by handle, of all channels
	handles uint32               // given so far
	longest int                  // of the reads asked for
	opens   int
	most    int // of files ever open at once
}

type fakeOpen struct {
	path string
	n    int // batches served
	file bool
}

const (
	regular   = 0o100644
	directory = 0o040755
	symlink   = 0o120777
)

func (f *fakeServer) serve(ch ssh.Channel) { f.serveAfter(ch, func(byte) bool { return true }) }

// serveAfter answers nothing before a request of a type for which begin is true.
func (f *fakeServer) serveAfter(ch ssh.Channel, begin func(typ byte) bool) {
	begun := false
	f.serveHolding(ch, func(typ byte) bool {
		begun = begun || begin(typ)
		return !begun
	})
}

// serveHolding answers nothing from a request on for whose type hold is true, until there
// is one for which it is not.
func (f *fakeServer) serveHolding(ch ssh.Channel, hold func(typ byte) bool) {
	f.mu.Lock()
	if f.open == nil {
		f.open = map[string]*fakeOpen{}
	}
	f.mu.Unlock()
	var owed []byte
	for {
		var head [5]byte
		if _, err := io.ReadFull(ch, head[:]); err != nil {
			return
		}
		body := make([]byte, binary.BigEndian.Uint32(head[:])-1)
		if _, err := io.ReadFull(ch, body); err != nil {
			return
		}
		owed = append(owed, f.reply(head[4], body)...)
		if hold(head[4]) {
			continue
		}
		if _, err := ch.Write(owed); err != nil {
			return
		}
		owed = owed[:0]
	}
}

func (f *fakeServer) reply(typ byte, body []byte) []byte {
	if typ == 1 {
		if f.numbered {
			return packet(2, u32(3), str("limits@openssh.com"), str("1"), str("lsetstat@openssh.com"), str("1"))
		}
		if f.openssh {
			return packet(2, u32(3), str("limits@openssh.com"), str("1"))
		}
		return packet(2, u32(3))
	}
	id := binary.BigEndian.Uint32(body)
	body = body[4:]
	if f.answer != nil {
		if b := f.answer(typ, id, body); b != nil {
			return b
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.usual(typ, id, body)
}

func (f *fakeServer) usual(typ byte, id uint32, body []byte) []byte {
	arg := text(body)
	switch typ {
	case 3, 11: // open, opendir
		return f.opened(id, arg, typ == 3)
	case 4: // close
		if o := f.open[arg]; o != nil && o.file {
			f.opens--
		}
		delete(f.open, arg)
		return status(id, 0)
	case 5: // read
		return f.read(id, arg, binary.BigEndian.Uint64(body[4+len(arg):]), int(binary.BigEndian.Uint32(body[12+len(arg):])))
	case 7, 17: // lstat, stat
		return f.stat(id, arg, typ == 17)
	case 8: // fstat
		if f.open[arg] == nil {
			return status(id, 4)
		}
		return f.stat(id, f.open[arg].path, false)
	case 12:
		return f.readdir(id, f.open[arg])
	case 19:
		if n, ok := f.nodes[arg]; ok && n.link != "" {
			return packet(104, u32(id), u32(1), str(n.link), str(""), u32(0))
		}
		return status(id, 2)
	case 200:
		if arg == "limits@openssh.com" && f.limits != nil {
			return packet(201, u32(id), u64(f.limits[0]), u64(f.limits[1]), u64(f.limits[2]), u64(f.limits[3]))
		}
		return status(id, 8)
	default:
		return status(id, 8)
	}
}

func (f *fakeServer) opened(id uint32, path string, file bool) []byte {
	if _, ok := f.nodes[path]; !ok {
		return status(id, 2)
	}
	if file && f.maxOpen > 0 && f.opens >= f.maxOpen {
		return status(id, 4)
	}
	if file {
		f.opens++
		f.most = max(f.most, f.opens)
	}
	handle := string(u32(f.handles))
	f.handles++
	if !f.numbered {
		handle = strings.Repeat("h", 1+len(f.open)%5) + string(u32(f.handles))
	}
	f.open[handle] = &fakeOpen{path: path, file: file}
	return packet(102, u32(id), str(handle))
}

func (f *fakeServer) read(id uint32, handle string, offset uint64, length int) []byte {
	f.longest = max(f.longest, length)
	o := f.open[handle]
	if o == nil {
		return status(id, 4)
	}
	data := f.nodes[o.path].data
	if offset >= uint64(len(data)) {
		return status(id, 1)
	}
	data = data[offset:]
	data = data[:min(len(data), length)]
	if f.maxRead > 0 {
		data = data[:min(len(data), f.maxRead)]
	}
	return packet(103, u32(id), str(data))
}

func (f *fakeServer) stat(id uint32, path string, follow bool) []byte {
	n, ok := f.nodes[path]
	if ok && follow && n.link != "" {
		n, ok = f.nodes[n.link]
	}
	if !ok {
		return status(id, 2)
	}
	return packet(105, u32(id), f.attrs(n, false))
}

func (f *fakeServer) attrs(n fakeNode, listed bool) []byte {
	size := n.size
	if size == 0 {
		size = uint64(len(n.data))
	}
	mode := n.mode
	if f.longOnly && listed {
		mode &= 0o7777
	}
	return append(append(append(u32(1|4|8), u64(size)...), u32(mode)...), append(u32(1), u32(1)...)...)
}

func (f *fakeServer) readdir(id uint32, o *fakeOpen) []byte {
	var names []string
	if f.batches != nil {
		names = f.batches(o.path, o.n)
	} else if o.n == 0 {
		prefix := strings.TrimSuffix(o.path, "/") + "/"
		for p := range f.nodes {
			if rest, ok := strings.CutPrefix(p, prefix); ok && rest != "" && !strings.Contains(rest, "/") {
				names = append(names, rest)
			}
		}
	}
	o.n++
	if names == nil {
		return status(id, 1)
	}
	parts := [][]byte{u32(id), u32(uint32(len(names)))}
	for _, name := range names {
		n, ok := f.nodes[strings.TrimSuffix(o.path, "/")+"/"+name]
		if !ok {
			n = fakeNode{mode: regular}
		}
		long := map[uint32]string{regular: "-rw", directory: "drw", symlink: "lrw"}[n.mode]
		parts = append(parts, str(name), str(long), f.attrs(n, true))
	}
	return packet(104, parts...)
}

func status(id, code uint32) []byte { return packet(101, u32(id), u32(code), str("words"), str("")) }

func packet(typ byte, parts ...[]byte) []byte {
	b := []byte{0, 0, 0, 0, typ}
	for _, p := range parts {
		b = append(b, p...)
	}
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	return b
}

func u32(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }
func u64(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }
func str(s string) []byte { return append(u32(uint32(len(s))), s...) }

func text(b []byte) string { return string(b[4 : 4+binary.BigEndian.Uint32(b)]) }
