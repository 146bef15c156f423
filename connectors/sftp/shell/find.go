package shell

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Record is one file as find shows it. Its bytes are valid until the next one.
type Record struct {
	Start  []byte // the path that it was found from
	Depth  int    // below that; 0 is Start itself
	Type   byte   // as find's %y: f d l p s b c
	Mode   uint32 // permissions, as st_mode & 07777
	Size   int64
	Sec    int64 // modified
	Nsec   uint32
	Device uint64
	Inode  uint64
	Links  uint32
	UID    uint32
	GID    uint32
	Name   []byte // without the folder
	Target []byte // of a link
}

// Listing is what a listing has in it besides its records.
type Listing struct {
	Tool string // what find calls itself
	// Doubtful are paths that find could not look at. What is in them is not
	// complete, nor what is in the folder that they are in.
	Doubtful []string
}

const (
	maxStart    = 4096
	maxName     = 4096
	maxTarget   = 60_000
	maxDoubtful = 20_000
	maxWords    = 8 << 20
)

// Find lists what is at absolute paths, and below: all, or their content alone
// unless all is set. A path that is a link is followed, all else is not. Folders
// come before what is in them, in no order otherwise. An error of each ends the
// listing and is returned as it is.
func Find(ctx context.Context, conn Opener, paths []string, all bool, each func(*Record) error, watch *Watch) (Listing, error) {
	command := commandFindHere
	if all {
		command = commandFindAll
	}
	p, err := run(conn, command)
	if err != nil {
		return Listing{}, err
	}
	defer watch.add(p.silent)()
	defer context.AfterFunc(ctx, p.stop)()
	defer p.requests.Wait()
	defer p.stop()
	words := make(chan complaints, 1)
	go func() { words <- p.complaints(p.said()) }()
	send := make(chan error, 1)
	go func() { send <- p.sendOnly(paths) }()
	f := finder{in: bufio.NewReaderSize(output{p, p.Channel}, 64<<10), p: p}
	list, err := f.read(each)
	if err != nil {
		p.stop()
	}
	sendErr, said := <-send, <-words
	if err != nil {
		return list, err
	}
	if sendErr != nil {
		return list, fmt.Errorf("send what to list: %w: %w", sendErr, ErrIncomplete)
	}
	return list, f.judge(&list, said)
}

// sendOnly sends what to start from, and nothing after it.
func (p *process) sendOnly(paths []string) error {
	b, err := ended(paths)
	if err == nil {
		_, err = p.Write(b)
	}
	if err != nil {
		return err
	}
	return p.CloseWrite()
}

// ended puts a zero byte behind each path.
func ended(paths []string) ([]byte, error) {
	var b []byte
	for _, path := range paths {
		if len(path) == 0 || path[0] != '/' || strings.IndexByte(path, 0) >= 0 {
			return nil, errors.New("not an absolute path")
		}
		b = append(append(b, path...), 0)
	}
	return b, nil
}

// finder reads find's output.
type finder struct {
	p      *process
	in     *bufio.Reader
	long   [4][]byte // fields that the buffer did not hold whole
	status int64
}

func (f *finder) read(each func(*Record) error) (Listing, error) {
	words, err := f.p.skipNoise(f.in)
	if err != nil {
		return Listing{}, err
	}
	tool, err := isGNU(words, "findutils")
	list := Listing{Tool: tool}
	if err != nil {
		return list, err
	}
	var fields [4][]byte
	var r Record
	for {
		if err := f.fields(&fields); err != nil {
			return list, err
		}
		if fields[0][0] == 'E' {
			return list, f.end(fields)
		}
		if err := r.parse(fields); err != nil {
			return list, err
		}
		if err := each(&r); err != nil {
			return list, err
		}
	}
}

// fields reads the four parts of a record. They are copied only where the buffer
// does not hold all of them.
func (f *finder) fields(to *[4][]byte) error {
	for i, limit := range [4]int{256, maxName, maxTarget, maxStart} {
		b, err := f.in.ReadSlice(0)
		f.long[i] = f.long[i][:0]
		for errors.Is(err, bufio.ErrBufferFull) && len(f.long[i]) < limit {
			f.long[i] = append(f.long[i], b...)
			b, err = f.in.ReadSlice(0)
		}
		if err != nil {
			return fmt.Errorf("read find's output: %w: %w", noEOF(err), ErrIncomplete)
		}
		f.long[i] = append(f.long[i], b[:len(b)-1]...)
		to[i] = f.long[i]
		if len(to[i]) > limit {
			return fmt.Errorf("find shows a name of %d bytes: %w", len(to[i]), ErrIncomplete)
		}
	}
	if len(to[0]) == 0 {
		return fmt.Errorf("find shows an empty record: %w", ErrIncomplete)
	}
	return nil
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// end reads the last record, which the command's shell prints.
func (f *finder) end(fields [4][]byte) error {
	n := numbers{b: fields[0][1:]}
	f.status = n.next(10)
	if string(fields[1]) != f.p.marker || n.bad || len(n.b) > 0 {
		return fmt.Errorf("find's output ends without its mark: %w", ErrIncomplete)
	}
	if f.status != 0 && f.status != 123 {
		return fmt.Errorf("xargs ended with status %d: %w", f.status, ErrIncomplete)
	}
	return nil
}

// judge decides whether a listing is complete, but for what find complained of.
func (f *finder) judge(list *Listing, said complaints) error {
	list.Doubtful = said.paths
	switch {
	case said.unclear != "":
		return fmt.Errorf("find says %.200q: %w", said.unclear, ErrIncomplete)
	case f.status != 0 && len(said.paths) == 0:
		return fmt.Errorf("find failed without a word: %w", ErrIncomplete)
	}
	return nil
}

// parse reads a record: "%y%d %m %s %T@ %D %i %n %U %G", name, target, start.
func (r *Record) parse(fields [4][]byte) error {
	n := numbers{b: fields[0][1:]}
	*r = Record{Type: fields[0][0], Name: fields[1], Target: fields[2], Start: fields[3]}
	r.Depth = int(n.upTo(10, 1<<20))
	r.Mode = uint32(n.upTo(8, 0o7777))
	r.Size = n.next(10)
	r.Sec, r.Nsec = n.time()
	r.Device, r.Inode = n.unsigned(), n.unsigned()
	r.Links = uint32(n.upTo(10, 1<<32-1))
	r.UID, r.GID = uint32(n.upTo(10, 1<<32-1)), uint32(n.upTo(10, 1<<32-1))
	if n.bad || len(n.b) > 0 || r.Size < 0 || len(r.Start) == 0 {
		return fmt.Errorf("find shows %.200q: %w", fields[0], ErrIncomplete)
	}
	return nil
}

// numbers reads numbers that a space or the end ends.
type numbers struct {
	b   []byte
	bad bool
}

func (n *numbers) unsigned() uint64 {
	var v uint64
	i := 0
	for ; i < len(n.b) && n.b[i] != ' '; i++ {
		d := n.b[i] - '0'
		if d > 9 || v > (1<<64-10)/10 {
			n.bad = true
		}
		v = v*10 + uint64(d)
	}
	n.bad = n.bad || i == 0
	n.b = n.b[min(i+1, len(n.b)):]
	return v
}

func (n *numbers) next(base int64) int64 { return n.upTo(base, 1<<62) }

// upTo reads a number of at most most, which is not negative.
func (n *numbers) upTo(base, most int64) int64 {
	var v int64
	i := 0
	for ; i < len(n.b) && n.b[i] != ' '; i++ {
		d := int64(n.b[i]) - '0'
		if d < 0 || d >= base || v > (most-d)/base {
			n.bad = true
			d, v = 0, 0
		}
		v = v*base + d
	}
	n.bad = n.bad || i == 0
	n.b = n.b[min(i+1, len(n.b)):]
	return v
}

// time reads "-12.3456789010": seconds, before 1970 too, and after the point what
// the system adds to them, with more digits than there are nanoseconds.
func (n *numbers) time() (sec int64, nsec uint32) {
	end := bytes.IndexByte(n.b, ' ')
	if end < 0 {
		n.bad = true
		return 0, 0
	}
	text := n.b[:end]
	n.b = n.b[end+1:]
	whole, fraction, _ := bytes.Cut(text, []byte{'.'})
	whole, negative := bytes.CutPrefix(whole, []byte{'-'})
	w := numbers{b: whole}
	sec = w.next(10)
	n.bad = n.bad || w.bad || len(w.b) > 0
	for i := range 9 {
		digit := byte('0')
		if i < len(fraction) {
			digit = fraction[i]
		}
		n.bad = n.bad || digit < '0' || digit > '9'
		nsec = nsec*10 + uint32(digit-'0')
	}
	if negative {
		sec = -sec // the fraction still counts upwards
	}
	return sec, nsec
}
