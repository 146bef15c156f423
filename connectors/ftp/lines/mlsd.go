package lines

import (
	"strconv"
	"strings"

	"xvault/connectors/ftp/wire"
	"xvault/internal/entry"
)

// MLSD reads a line of MLSD: facts, a space, and all the rest is the name.
func MLSD(line string) (Line, error) {
	facts, name, ok := strings.Cut(line, " ")
	if !ok || name == "" || !strings.Contains(facts, "=") {
		return Line{}, ErrLine
	}
	l := Line{Name: name}
	owners := [2]string{}
	for fact := range strings.SplitSeq(facts, ";") {
		key, value, _ := strings.Cut(fact, "=")
		if !l.fact(strings.ToLower(key), value, &owners) {
			return l, ErrLine
		}
	}
	l.UID, l.User = owner(owners[0], l.UID, l.User)
	l.GID, l.Group = owner(owners[1], l.GID, l.Group)
	l.Self = l.Self || l.Name == "."
	return l, nil
}

func (l *Line) fact(key, value string, owners *[2]string) bool {
	var err error
	switch key {
	case "type":
		l.setType(value)
	case "size":
		l.Size, err = strconv.ParseInt(value, 10, 64)
		l.HasSize = true
	case "modify":
		l.ModTime, l.HasTime = wire.ParseTime(value)
		l.Precise = l.HasTime
		return l.HasTime
	case "perm":
		l.Perm, l.HasPerm = strings.ToLower(value), true
	case "unix.mode":
		var mode uint64
		mode, err = strconv.ParseUint(value, 8, 32)
		l.Mode, l.HasMode = uint32(mode)&0o7777, true
	case "unix.uid":
		l.UID, _ = owner(value, 0, "")
	case "unix.gid":
		l.GID, _ = owner(value, 0, "")
	case "unix.owner":
		owners[0] = value
	case "unix.group":
		owners[1] = value
	case "unix.ownername":
		l.User = value
	case "unix.groupname":
		l.Group = value
	}
	return err == nil && l.Size >= 0
}

func (l *Line) setType(value string) {
	kind, target, _ := strings.Cut(value, ":")
	switch strings.ToLower(kind) {
	case "file":
		l.Kind = entry.File
	case "dir":
		l.Kind = entry.Dir
	case "cdir":
		l.Kind, l.Self = entry.Dir, true
	case "pdir":
		l.Kind, l.Parent = entry.Dir, true
	case "os.unix=slink", "os.unix=symlink":
		l.Kind, l.Target = entry.Symlink, target
	case "os.unix=chr", "os.unix=blk":
		l.Kind = entry.Device
	case "os.unix=fifo", "os.unix=pipe", "unknown":
		l.Kind = entry.FIFO // or another one of those that are named and never opened
	case "os.unix=socket", "os.unix=sock":
		l.Kind = entry.Socket
	}
}

// owner tells a number from a name.
func owner(value string, id int, name string) (int, string) {
	if n, err := strconv.ParseUint(value, 10, 32); err == nil {
		return int(n), name
	}
	if value != "" && name == "" {
		name = value
	}
	return id, name
}
