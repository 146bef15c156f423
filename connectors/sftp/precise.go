package sftp

import (
	"fmt"
	"sync"
	"time"

	"xvault/connectors/sftp/shell"
	"xvault/connectors/sftp/wire"
)

// precise is what find tells of a file beyond what SFTP does. The zero value is
// that of a file which find did not show.
type precise struct {
	modTime time.Time
	target  string // of a link; known where modTime is
	// file is known of folders, and of files that have other names.
	file inode
}

// inode is a file, whatever its name. The zero value is that of an unknown one.
type inode struct {
	device uint16 // as devices numbers them, from 1
	number uint64
}

// devices numbers the devices that files are on, because there are few.
type devices struct {
	mu      sync.Mutex
	numbers map[uint64]uint16
	last    uint64
	latest  uint16 // the number of last
}

// number gives a device's number; 0 if there are too many.
func (d *devices) number(device uint64) uint16 {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.latest != 0 && device == d.last {
		return d.latest
	}
	n, ok := d.numbers[device]
	if !ok && len(d.numbers) < 1<<16-1 {
		if d.numbers == nil {
			d.numbers = map[uint64]uint16{}
		}
		n = uint16(len(d.numbers) + 1)
		d.numbers[device] = n
	}
	d.last, d.latest = device, n
	return n
}

// recordOf makes a record of what find shows; its name is still to be kept.
func (d *devices) recordOf(r *shell.Record, attrs wire.Attrs) record {
	rec := record{
		size: r.Size, mtime: r.Sec, nsec: r.Nsec, inode: r.Inode, device: d.number(r.Device),
		uid: r.UID, gid: r.GID, mode: attrs.Mode, has: has(attrs) | hasFine,
	}
	if r.Links > 1 && r.Type == 'f' {
		rec.has |= hasOthers
	}
	return rec
}

// preciseOf is the same of a folder, or of a configured path.
func (d *devices) preciseOf(r *shell.Record) precise {
	p := precise{modTime: time.Unix(r.Sec, int64(r.Nsec))}
	if n := d.number(r.Device); n != 0 && r.Type == 'd' {
		p.file = inode{n, r.Inode}
	}
	return p
}

// precise gives what find told of a record.
func (l *listing) precise(r *record) precise {
	if r.has&hasFine == 0 {
		return precise{}
	}
	p := precise{modTime: time.Unix(r.mtime, int64(r.nsec)), file: r.file()}
	if r.target > 0 {
		p.target = string(l.arena[r.block][r.offset+uint32(r.length):][:r.target])
	}
	return p
}

// file is what precise says of it.
func (r *record) file() inode {
	if r.device == 0 || r.has&hasOthers == 0 && r.mode&wire.ModeType != wire.ModeDir {
		return inode{}
	}
	return inode{r.device, r.inode}
}

// timeOf is a file's time: the precise one, unless it is not that of the attributes
// any more.
func (p precise) timeOf(a wire.Attrs) time.Time {
	if !p.modTime.IsZero() && uint32(p.modTime.Unix()) == a.ModTime {
		return p.modTime
	}
	return time.Unix(int64(a.ModTime), 0)
}

// attrsOf gives what SFTP would tell of the same file.
func attrsOf(r *shell.Record) (wire.Attrs, error) {
	var kind uint32
	switch r.Type {
	case 'f':
		kind = wire.ModeRegular
	case 'd':
		kind = wire.ModeDir
	case 'l':
		kind = wire.ModeSymlink
	case 'p':
		kind = wire.ModeFIFO
	case 's':
		kind = wire.ModeSocket
	case 'b':
		kind = wire.ModeBlock
	case 'c':
		kind = wire.ModeChar
	default:
		return wire.Attrs{}, fmt.Errorf("find shows a file of the type %q: %w", r.Type, shell.ErrIncomplete)
	}
	return wire.Attrs{
		HasSize: true, HasOwner: true, HasMode: true, HasTimes: true,
		Size: uint64(r.Size), UID: r.UID, GID: r.GID, Mode: kind | r.Mode, ModTime: uint32(r.Sec),
	}, nil
}
