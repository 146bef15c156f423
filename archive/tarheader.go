package archive

import (
	"encoding/binary"
	"slices"
	"strconv"
	"strings"
	"time"

	"xvault/internal/entry"
)

// The tar headers are made here and not by archive/tar, because they are part
// of a format that is to stay the same for ever, are written into the frame
// without a copy, and a million of them must cost little.

// Offsets and lengths of the fields of a ustar header.
const (
	tarName, tarNameLen     = 0, 100
	tarMode                 = 100
	tarUID                  = 108
	tarGID                  = 116
	tarSize                 = 124
	tarMtime                = 136
	tarChecksum             = 148
	tarType                 = 156
	tarLink, tarLinkLen     = 157, 100
	tarMagic                = 257
	tarUser, tarUserLen     = 265, 32
	tarGroup, tarGroupLen   = 297, 32
	tarDevMajor             = 329
	tarDevMinor             = 337
	tarPrefix, tarPrefixLen = 345, 155
)

const (
	maxOctal8  = 1<<21 - 1 // what an 8 byte field can hold
	maxOctal12 = 1<<33 - 1 // and a 12 byte one
)

const (
	typeFile     = '0'
	typeHardlink = '1'
	typeSymlink  = '2'
	typeDir      = '5'
	typePAX      = 'x'
)

// paxRecord is one "length keyword=value" line of an extended header.
type paxRecord struct{ key, value string }

// tarEncoder makes members' headers, one after the other, into one buffer.
type tarEncoder struct {
	buf     []byte
	records []paxRecord
	pax     []byte
}

// header encodes what comes before the content of a member: an extended header
// where one is needed, and the ustar header. The result is valid until the
// next call. size is the member's own, which for a part is not h.Size.
func (e *tarEncoder) header(h *entry.Header, name string, size int64) []byte {
	typ := tarTypeOf(h.Kind)
	if typ == typeDir {
		name += "/"
	}
	link := ""
	if typ == typeHardlink || typ == typeSymlink {
		link = h.LinkTarget
	}
	user, group := ownerName(h.User), ownerName(h.Group)
	sec, nsec := mtimeOf(h.ModTime)

	e.buf, e.records = e.buf[:0], e.records[:0]
	base, prefix, fits := splitName(name)
	e.addIf(!fits, "path", name)
	e.addIf(!fitsField(link, tarLinkLen), "linkpath", link)
	e.addIf(!fitsField(user, tarUserLen-1), "uname", user)
	e.addIf(!fitsField(group, tarGroupLen-1), "gname", group)
	e.addNumber("uid", int64(h.UID), maxOctal8)
	e.addNumber("gid", int64(h.GID), maxOctal8)
	e.addNumber("size", size, maxOctal12)
	if nsec != 0 || sec < 0 || sec > maxOctal12 {
		e.addIf(true, "mtime", paxTime(sec, nsec))
	}
	for key, value := range h.Xattrs {
		e.records = append(e.records, paxRecord{"SCHILY.xattr." + xattrKeyword.Replace(key), value})
	}
	e.extended(name)

	b := e.block()
	putString(b[tarName:tarName+tarNameLen], base)
	putString(b[tarPrefix:tarPrefix+tarPrefixLen], prefix)
	putOctal(b[tarMode:tarMode+8], int64(h.Mode&0o7777))
	putOctal(b[tarUID:tarUID+8], within(int64(h.UID), maxOctal8))
	putOctal(b[tarGID:tarGID+8], within(int64(h.GID), maxOctal8))
	putOctal(b[tarSize:tarSize+12], within(size, maxOctal12))
	putOctal(b[tarMtime:tarMtime+12], within(sec, maxOctal12))
	putString(b[tarLink:tarLink+tarLinkLen], asASCII(link))
	putString(b[tarUser:tarUser+tarUserLen-1], asASCII(user))
	putString(b[tarGroup:tarGroup+tarGroupLen-1], asASCII(group))
	finishBlock(b, typ)
	return e.buf
}

// extended puts the PAX header in front, if there are records for one.
func (e *tarEncoder) extended(name string) {
	if len(e.records) == 0 {
		return
	}
	slices.SortFunc(e.records, func(a, b paxRecord) int { return strings.Compare(a.key, b.key) })
	e.pax = e.pax[:0]
	for _, r := range e.records {
		e.pax = appendPAX(e.pax, r)
	}
	b := e.block()
	putString(b[tarName:tarName+tarNameLen], paxHeaderName(name))
	putOctal(b[tarMode:tarMode+8], 0o644)
	putOctal(b[tarUID:tarUID+8], 0)
	putOctal(b[tarGID:tarGID+8], 0)
	putOctal(b[tarSize:tarSize+12], int64(len(e.pax)))
	putOctal(b[tarMtime:tarMtime+12], 0)
	finishBlock(b, typePAX)
	e.buf = append(e.buf, e.pax...)
	e.buf = append(e.buf, zeroBlock[:padding(int64(len(e.pax)))]...)
}

func (e *tarEncoder) addIf(needed bool, key, value string) {
	if needed {
		e.records = append(e.records, paxRecord{key, value})
	}
}

func (e *tarEncoder) addNumber(key string, n, limit int64) {
	if n > limit {
		e.records = append(e.records, paxRecord{key, strconv.FormatInt(n, 10)})
	}
}

// block appends an empty header block and returns it.
func (e *tarEncoder) block() []byte {
	e.buf = append(e.buf, zeroBlock[:]...)
	return e.buf[len(e.buf)-tarBlock:]
}

var zeroBlock [tarBlock]byte

// endOfArchive is two blocks of zeros.
var endOfArchive [2 * tarBlock]byte

// xattrKeyword escapes, as GNU tar does, what a PAX keyword cannot hold.
var xattrKeyword = strings.NewReplacer("%", "%25", "=", "%3D")

func tarTypeOf(k entry.Kind) byte {
	switch k {
	case entry.Dir:
		return typeDir
	case entry.Symlink:
		return typeSymlink
	case entry.Hardlink:
		return typeHardlink
	default:
		return typeFile
	}
}

// padding is the number of zero bytes behind n bytes of content.
func padding(n int64) int64 { return -n & (tarBlock - 1) }

func finishBlock(b []byte, typ byte) {
	b[tarType] = typ
	copy(b[tarMagic:], "ustar\x0000")
	putOctal(b[tarDevMajor:tarDevMajor+8], 0)
	putOctal(b[tarDevMinor:tarDevMinor+8], 0)
	for i := range 8 {
		b[tarChecksum+i] = ' '
	}
	// Six digits, a zero byte and the space that is there already.
	putOctal(b[tarChecksum:tarChecksum+7], sumOf(b[:tarBlock]))
}

// sumOf adds up the bytes of a block, eight at a time: in each four lanes of 16
// bits, which 128 of them do not fill.
func sumOf(block []byte) int64 {
	const lanes = 0x00ff00ff00ff00ff
	var sums uint64
	for ; len(block) >= 8; block = block[8:] {
		w := binary.LittleEndian.Uint64(block)
		sums += w&lanes + w>>8&lanes
	}
	return int64(sums&0xffff + sums>>16&0xffff + sums>>32&0xffff + sums>>48)
}

func putString(field []byte, s string) { copy(field, s) }

// putOctal fills a field with zero-padded octal digits and a zero byte.
func putOctal(field []byte, n int64) {
	last := len(field) - 1
	field[last] = 0
	for i := last - 1; i >= 0; i-- {
		field[i] = '0' + byte(n&7)
		n >>= 3
	}
}

// within gives n, or 0 where a PAX record holds it because it does not fit.
func within(n, limit int64) int64 {
	if n < 0 || n > limit {
		return 0
	}
	return n
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] == 0 || s[i] >= 0x80 {
			return false
		}
	}
	return true
}

func asASCII(s string) string {
	if isASCII(s) {
		return s
	}
	b := []byte(s)
	for i := range b {
		if b[i] >= 0x80 || b[i] == 0 {
			b[i] = '_'
		}
	}
	return string(b)
}

func fitsField(s string, length int) bool { return len(s) <= length && isASCII(s) }

// splitName divides a name over the header's name and prefix fields. Where it
// does not fit, base is what readers without PAX will show.
func splitName(name string) (base, prefix string, fits bool) {
	if fitsField(name, tarNameLen) {
		return name, "", true
	}
	if !isASCII(name) || len(name) > tarPrefixLen+1+tarNameLen {
		return cut(asASCII(name), tarNameLen), "", false
	}
	// The prefix ends before a slash; what is behind it is never empty.
	from := min(len(name)-1, tarPrefixLen+1)
	i := strings.LastIndexByte(name[:from], '/')
	if i <= 0 || len(name)-i-1 > tarNameLen {
		return cut(name, tarNameLen), "", false
	}
	return name[i+1:], name[:i], true
}

func cut(s string, length int) string { return s[:min(len(s), length)] }

// paxHeaderName names the extended header itself; only readers that do not know
// PAX ever show it.
func paxHeaderName(name string) string {
	name = strings.TrimSuffix(name, "/")
	name = name[strings.LastIndexByte(name, '/')+1:]
	return cut("PaxHeaders.0/"+asASCII(name), tarNameLen)
}

// ownerName drops a name that no header can hold; the number stays.
func ownerName(name string) string {
	if len(name) > maxOwner || strings.IndexByte(name, 0) >= 0 {
		return ""
	}
	return name
}

// mtimeOf gives a time as seconds and nanoseconds; the zero Time, which means
// that the source did not tell, becomes the epoch.
func mtimeOf(t time.Time) (sec int64, nsec int) {
	if t.IsZero() {
		return 0, 0
	}
	return t.Unix(), t.Nanosecond()
}

// paxTime is a decimal number of seconds. A time before the epoch is written
// as its distance from it, so that -1.5 is a second and a half before.
func paxTime(sec int64, nsec int) string {
	if nsec == 0 {
		return strconv.FormatInt(sec, 10)
	}
	sign := ""
	if sec < 0 {
		sign = "-"
		sec, nsec = -(sec + 1), 1_000_000_000-nsec
	}
	fraction := strconv.Itoa(1_000_000_000 + nsec)[1:]
	return sign + strconv.FormatInt(sec, 10) + "." + strings.TrimRight(fraction, "0")
}

// appendPAX appends a record, whose length counts its own digits.
func appendPAX(b []byte, r paxRecord) []byte {
	rest := len(r.key) + len(r.value) + 3 // a space, an equals sign, a newline
	size := rest + len(strconv.Itoa(rest))
	if len(strconv.Itoa(size)) != len(strconv.Itoa(rest)) {
		size = rest + len(strconv.Itoa(size))
	}
	b = strconv.AppendInt(b, int64(size), 10)
	b = append(b, ' ')
	b = append(b, r.key...)
	b = append(b, '=')
	b = append(b, r.value...)
	return append(b, '\n')
}
