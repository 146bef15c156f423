package wire

// Attrs is what a server tells of a file. A field counts only where the server
// sent it.
type Attrs struct {
	HasSize, HasOwner, HasMode, HasTimes bool

	Size     uint64
	UID, GID uint32
	Mode     uint32 // as st_mode: type and permissions
	ModTime  uint32 // seconds
}

// Type bits of Mode.
const (
	ModeType    = 0o170000
	ModeFIFO    = 0o010000
	ModeChar    = 0o020000
	ModeDir     = 0o040000
	ModeBlock   = 0o060000
	ModeRegular = 0o100000
	ModeSymlink = 0o120000
	ModeSocket  = 0o140000
)

// Flags that say what an attribute block holds.
const (
	attrSize     = 1 << 0
	attrOwner    = 1 << 1
	attrMode     = 1 << 2
	attrTimes    = 1 << 3
	attrExtended = 1 << 31
)

func (d *decoder) attrs() Attrs {
	var a Attrs
	flags := d.u32()
	if flags&attrSize != 0 {
		a.HasSize, a.Size = true, d.u64()
	}
	if flags&attrOwner != 0 {
		a.HasOwner, a.UID, a.GID = true, d.u32(), d.u32()
	}
	if flags&attrMode != 0 {
		a.HasMode, a.Mode = true, d.u32()
	}
	if flags&attrTimes != 0 {
		_ = d.u32() // time of access
		a.HasTimes, a.ModTime = true, d.u32()
	}
	if flags&attrExtended != 0 {
		for n := d.u32(); n > 0 && d.err == nil; n-- {
			d.bytes()
			d.bytes()
		}
	}
	return a
}
