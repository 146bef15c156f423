package shell

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// complaints are what find said on its error output.
type complaints struct {
	paths   []string // that it could not look at
	unclear string   // what cannot be understood
}

// complaints reads the error output up to another line with the marker, or to its
// end.
func (p *process) complaints(r *bufio.Reader) complaints {
	var c complaints
	if _, err := p.skipNoise(r); err != nil {
		c.unclear = "nothing"
		return c
	}
	var line []byte
	total := 0
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		total += len(part)
		if total > maxWords || len(c.paths) > maxDoubtful {
			c.unclear = "too much"
			p.stop()
			return c
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		line = bytes.TrimSuffix(line, []byte{'\n'})
		if string(line) == p.marker {
			return c
		}
		if len(line) > 0 {
			c.take(line)
		}
		line = line[:0]
		if err != nil {
			if !errors.Is(err, io.EOF) {
				c.unclear = "nothing more"
			}
			return c
		}
	}
}

// take understands "find: 'PATH': reason".
func (c *complaints) take(line []byte) {
	rest, ok := bytes.CutPrefix(line, []byte("find: '"))
	if ok {
		var path []byte
		if path, rest, ok = unquote(rest); ok && len(path) > 0 && path[0] == '/' && bytes.HasPrefix(rest, []byte(": ")) {
			c.paths = append(c.paths, string(path))
			return
		}
	}
	if c.unclear == "" {
		c.unclear = string(line[:min(len(line), 300)])
	}
}

// unquote reads up to the closing quote what GNU programs put between quotes in
// the C locale.
func unquote(b []byte) (text, rest []byte, ok bool) {
	for i := 0; i < len(b); i++ {
		switch {
		case b[i] == '\'':
			return text, b[i+1:], true
		case b[i] != '\\':
			text = append(text, b[i])
			continue
		}
		i++
		if i == len(b) {
			break
		}
		if at := bytes.IndexByte([]byte(`abfnrtv\'"?`), b[i]); at >= 0 {
			text = append(text, "\a\b\f\n\r\t\v\\'\"?"[at])
			continue
		}
		if i+3 > len(b) {
			break
		}
		code := 0
		for _, d := range b[i : i+3] {
			if d < '0' || d > '7' {
				return nil, nil, false
			}
			code = code<<3 | int(d-'0')
		}
		text = append(text, byte(code))
		i += 2
	}
	return nil, nil, false
}
