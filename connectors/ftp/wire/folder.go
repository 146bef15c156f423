package wire

import (
	"errors"
	"strconv"
	"strings"
	"time"
)

// ErrElsewhere says that a folder is not where its path says: a link led there.
var ErrElsewhere = errors.New("the path leads through a link")

// maxCommand is how long an argument may be for every server to take it.
const maxCommand = 400

// Chdir goes to a folder by its absolute path, in as many steps as its length needs.
func (c *Conn) Chdir(path string) error {
	if err := c.askTelnet(path); err != nil {
		return err
	}
	for _, step := range steps(path) {
		if _, err := c.Expect("CWD", step); err != nil {
			return err
		}
	}
	return nil
}

// steps cuts a path into pieces, of which each but the first is relative.
func steps(path string) []string {
	var list []string
	for len(path) > maxCommand {
		cut := strings.LastIndexByte(path[:maxCommand], '/')
		if cut <= 0 {
			if cut = strings.IndexByte(path[1:], '/') + 1; cut == 0 {
				break
			}
		}
		list = append(list, path[:cut])
		path = path[cut+1:]
	}
	list = append(list, path)
	for i := range list[1:] {
		list[i+1] = Relative(list[i+1])
	}
	return list
}

// Relative guards a name at whose start servers see more than a name.
func Relative(name string) string {
	if name != "" && strings.IndexByte("~- ", name[0]) >= 0 {
		return "./" + name
	}
	return name
}

// Where gives the folder that the connection is in, empty where the server does not
// tell.
func (c *Conn) Where() (string, error) {
	r, err := c.Do("PWD", "")
	if err != nil {
		return "", err
	}
	if r.Code != 257 {
		return "", nil
	}
	return unquote(strings.Join(r.Lines, "\n")), nil
}

// unquote reads `"/a ""quoted"" name" is the current directory`, where not every
// server doubles the quotes.
func unquote(text string) string {
	last := strings.LastIndexByte(text, '"')
	if last < 1 || text[0] != '"' {
		return ""
	}
	inner := text[1:last]
	single := strings.ReplaceAll(inner, `""`, "\x00")
	if strings.Contains(single, `"`) {
		return inner
	}
	return strings.ReplaceAll(single, "\x00", `"`)
}

// SamePath compares a path with one that a server told.
func SamePath(ours, told string) bool {
	return samePath(ours, told) || samePath(ours, strings.TrimSuffix(told, "/"))
}

// Size asks for the size of a file. What refuses it is a *ReplyError.
func (c *Conn) Size(name string) (int64, error) {
	if err := c.askTelnet(name); err != nil {
		return 0, err
	}
	r, err := c.Expect("SIZE", name)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(strings.TrimSpace(r.Text()), 10, 64)
	if err != nil || n < 0 {
		return 0, &ReplyError{"SIZE", r}
	}
	return n, nil
}

// Modified asks for the time of a file, in UTC. What refuses it is a *ReplyError.
func (c *Conn) Modified(name string) (time.Time, error) {
	if err := c.askTelnet(name); err != nil {
		return time.Time{}, err
	}
	r, err := c.Expect("MDTM", name)
	if err != nil {
		return time.Time{}, err
	}
	at, ok := ParseTime(strings.TrimSpace(r.Text()))
	if !ok {
		return time.Time{}, &ReplyError{"MDTM", r}
	}
	return at, nil
}

// ParseTime reads a time as MLSD and MDTM have it: YYYYMMDDHHMMSS, and a fraction.
func ParseTime(text string) (time.Time, bool) {
	at, err := time.ParseInLocation("20060102150405", text, time.UTC)
	return at, err == nil
}

// FormatTime is the reverse, in whole seconds.
func FormatTime(at time.Time) string { return at.UTC().Format("20060102150405") }
