package sftp

import (
	"time"

	"xvault/connectors/sftp/shell"
	"xvault/connectors/sftp/wire"
)

// precise is what find tells of a file beyond what SFTP does. The zero value is
// that of a file which find did not show.
type precise struct {
	modTime time.Time
	target  string // of a link; known where modTime is
	file    inode  // of a file that has other names; zero otherwise
}

// inode is a file, whatever its name.
type inode struct{ device, number uint64 }

// precise gives what find told of a record.
func (l *listing) precise(r *record) precise {
	if r.has&hasFine == 0 {
		return precise{}
	}
	p := precise{modTime: time.Unix(r.mtime, int64(r.nsec))}
	if r.target > 0 {
		p.target = string(l.arena[r.block][r.offset+uint32(r.length):][:r.target])
	}
	if r.has&hasInode != 0 && r.has&hasOthers != 0 {
		p.file = inode{l.device, r.inode}
	}
	return p
}

func timeOf(r *shell.Record) time.Time { return time.Unix(r.Sec, int64(r.Nsec)) }

// timeOf is a file's time: the precise one, unless it is not that of the attributes
// any more.
func (p precise) timeOf(a wire.Attrs) time.Time {
	if !p.modTime.IsZero() && uint32(p.modTime.Unix()) == a.ModTime {
		return p.modTime
	}
	return time.Unix(int64(a.ModTime), 0)
}
