package ftp

import (
	"fmt"
	"strings"

	"xvault/connectors/ftp/lines"
	"xvault/internal/entry"
)

// permission is what a server says of a right.
type permission int

const (
	notTold permission = iota
	denied
	granted
)

// mayWrite asks whether the user may change a name in the folder that the session is
// in, or the folder itself where the name is empty; it may change a folder if it may
// make or remove something there. Nothing is tried, for that could leave traces.
func (s *session) mayWrite(name string) (permission, error) {
	if !s.usesMLST() {
		return notTold, nil
	}
	text, err := s.wire.Facts(name)
	if isAnswer(err) {
		return notTold, nil
	}
	if err != nil {
		return notTold, err
	}
	line, err := lines.MLSD(text)
	if err != nil || !line.HasPerm {
		return notTold, nil //nolint:nilerr // then it tells nothing
	}
	letters := "cdmp"
	if line.Kind == entry.File {
		letters = "w" // ProFTPD says of every file that it can be appended to and removed
	}
	if strings.ContainsAny(line.Perm, letters) {
		return granted, nil
	}
	return denied, nil
}

// writeWarning says that the login is not for reading alone, or that nobody can know;
// empty where the server says that it is.
func writeWarning(roots []*root) string {
	const advice = "For backups alone a login will do that may only read (ProFTPD: <Limit WRITE> with DenyAll, vsftpd: write_enable=NO)"
	var writable []string
	unknown := false
	for _, r := range roots {
		switch {
		case r.err != nil:
		case r.writes == granted:
			writable = append(writable, fmt.Sprintf("%q", r.path))
		case r.writes == notTold:
			unknown = true
		}
	}
	switch {
	case len(writable) > 0:
		return "this login is not confined to reading: by what the server tells of " + strings.Join(writable[:min(len(writable), 10)], ", ") +
			" it may change what is there, unless the server's configuration forbids it. " + advice
	case unknown:
		return "it cannot be told whether this login can write: the server does not say what a user may do (perm in MLST). " + advice
	default:
		return ""
	}
}
