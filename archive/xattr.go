package archive

import (
	"archive/tar"
	"errors"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

const (
	xattrRecord = "SCHILY.xattr."
	// xattrUser are the attributes of the users themselves. Those of other
	// namespaces give rights or mean something to the system that they are
	// restored to; they stay in the artifact.
	xattrUser = "user."
)

// xattrName undoes xattrKeyword.
var xattrName = strings.NewReplacer("%25", "%", "%3D", "=")

// xattrsOf gives the extended attributes in a header, nil if there are none.
func xattrsOf(hdr *tar.Header) map[string]string {
	var attrs map[string]string
	for key, value := range hdr.PAXRecords {
		name, ok := strings.CutPrefix(key, xattrRecord)
		if !ok {
			continue
		}
		if attrs == nil {
			attrs = make(map[string]string)
		}
		attrs[xattrName.Replace(name)] = value
	}
	return attrs
}

var (
	errNoLinkAttr = errors.New("symbolic links have no extended attributes here")
	errSystemAttr = errors.New("only attributes of the user's own namespace are restored")
)

// setXattrs sets what can be set, and gives the first reason why something
// could not.
func setXattrs(fd int, attrs map[string]string) (lost error) {
	for name, value := range attrs {
		err := errSystemAttr
		if strings.HasPrefix(name, xattrUser) {
			err = unix.Fsetxattr(fd, name, []byte(value), 0)
		}
		if err != nil && lost == nil {
			lost = err
		}
	}
	return lost
}

// attrLoss counts the entries whose extended attributes could not be restored,
// all or some: no reason to give up an extraction, but to be told.
type attrLoss struct {
	mu      sync.Mutex
	entries int64
	reason  error // the first
}

func (l *attrLoss) count(attrs map[string]string, err error) {
	if len(attrs) == 0 || err == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries++
	if l.reason == nil {
		l.reason = err
	}
}
