package phpdata

import (
	"bytes"
	"regexp"
	"strconv"
	"sync"
)

// parser goes through one serialized value, and writes it anew.
type parser struct {
	*rewriter
	src    []byte
	at     int
	out    bytes.Buffer
	inside int
}

func (p *parser) rest() []byte { return p.src[p.at:] }

// keep passes on the next bytes as they are.
func (p *parser) keep(n int) bool {
	p.out.Write(p.src[p.at : p.at+n])
	p.at += n
	return true
}

func (p *parser) sign(c byte) bool {
	return p.at < len(p.src) && p.src[p.at] == c && p.keep(1)
}

// scalar is a value without a text. It is made when it is needed: to repeat something
// hundreds of times is long work, for which no command should wait at its start.
var scalar = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^(?:N;|b:[01];|i:[+-]?\d{1,20};|d:(?:[+-]?[0-9.][0-9.eE+-]{0,400}|-?INF|NAN);|[rR]:\d{1,20};)`)
})

// value reads one, of any kind; false: it is not whole.
func (p *parser) value(depth int) bool {
	if depth > maxDepth || p.at+1 >= len(p.src) {
		return false
	}
	switch p.src[p.at] {
	case 's', 'S':
		t, ok := p.takeText()
		if ok {
			p.putText(p.rewrite(t, p.inside+1))
		}
		return ok
	case 'a':
		n, at, ok := number(p.src, p.at+1, ":{")
		return ok && p.keep(at-p.at) && p.pairs(n, depth, true) && p.sign('}')
	case 'O':
		return p.object(depth)
	case 'C':
		return p.custom()
	case 'E':
		_, at, ok := quoted(p.src, p.at+1, ";")
		return ok && p.keep(at-p.at)
	default:
		m := scalar().Find(p.rest())
		return m != nil && p.keep(len(m))
	}
}

// number reads a count and what has to follow it; at is behind that.
func number(src []byte, at int, follows string) (n, end int, ok bool) {
	if at >= len(src) || src[at] != ':' {
		return 0, 0, false
	}
	begin := at + 1
	for end = begin; end < len(src) && end-begin < 18 && src[end] >= '0' && src[end] <= '9'; end++ {
		n = n*10 + int(src[end]-'0')
	}
	if end == begin || !bytes.HasPrefix(src[end:], []byte(follows)) {
		return 0, 0, false
	}
	return n, end + len(follows), true
}

// quoted reads :length:"text" and what has to follow it.
func quoted(src []byte, at int, follows string) (text []byte, end int, ok bool) {
	n, begin, ok := number(src, at, `:"`)
	if !ok || n > len(src)-begin || !bytes.HasPrefix(src[begin+n:], []byte(`"`+follows)) {
		return nil, 0, false
	}
	return src[begin : begin+n], begin + n + 1 + len(follows), true
}

// takeText reads a text, also one with escapes, without writing it.
func (p *parser) takeText() ([]byte, bool) {
	if p.src[p.at] == 'S' {
		return p.takeEscaped()
	}
	text, end, ok := quoted(p.src, p.at+1, ";")
	if ok {
		p.at = end
	}
	return text, ok
}

// takeEscaped reads a text in which bytes may stand as \xx; its length counts what it
// comes to.
func (p *parser) takeEscaped() ([]byte, bool) {
	n, at, ok := number(p.src, p.at+1, `:"`)
	if !ok || n > len(p.src)-at || !p.take(n) {
		return nil, false
	}
	text := make([]byte, 0, n)
	for len(text) < n && at < len(p.src) {
		c := p.src[at]
		at++
		if c == '\\' {
			if at+2 > len(p.src) {
				return nil, false
			}
			v, err := strconv.ParseUint(string(p.src[at:at+2]), 16, 8)
			if err != nil {
				return nil, false
			}
			c, at = byte(v), at+2
		}
		text = append(text, c)
	}
	if len(text) < n || !bytes.HasPrefix(p.src[at:], []byte(`";`)) {
		return nil, false
	}
	p.at = at + 2
	return text, true
}

func (p *parser) putText(text []byte) {
	p.out.WriteString("s:" + strconv.Itoa(len(text)) + `:"`)
	p.out.Write(text)
	p.out.WriteString(`";`)
}

// object reads one whose properties stand like the elements of an array.
func (p *parser) object(depth int) bool {
	class, at, ok := quoted(p.src, p.at+1, "")
	if !ok {
		return false
	}
	n, at, ok := number(p.src, at, ":{")
	return ok && p.keep(at-p.at) && p.pairs(n, depth, string(class) == "stdClass") && p.sign('}')
}

// custom reads an object that wrote itself in a way that only its class knows.
func (p *parser) custom() bool {
	_, at, ok := quoted(p.src, p.at+1, "")
	if !ok {
		return false
	}
	n, begin, ok := number(p.src, at, ":{")
	if !ok || n > len(p.src)-begin || !bytes.HasPrefix(p.src[begin+n:], []byte("}")) {
		return false
	}
	data := p.own(p.src[begin : begin+n])
	p.keep(at - p.at)
	p.out.WriteString(":" + strconv.Itoa(len(data)) + ":{")
	p.out.Write(data)
	p.out.WriteByte('}')
	p.at = begin + n + 1
	return true
}

// own changes what an object wrote of itself. Texts and objects in it that are written
// the usual way are changed. If what lies between them should be, too, nothing is: it may
// be counted by something that is not known here; nor is anything where more lengths are
// wrong than may be looked after.
func (p *parser) own(data []byte) []byte {
	if _, places := p.text(data); places == 0 {
		return data
	}
	before := *p.rewriter
	in := &parser{rewriter: p.rewriter, src: data, inside: p.inside + 1}
	var between bytes.Buffer
	for in.inside <= maxInside && in.at < len(data) && !in.spent() {
		next := data[in.at:]
		if (in.at == 0 || !isWord(data[in.at-1])) && serialized.Match(next[:min(len(next), 30)]) && in.known() {
			between.WriteByte(';')
			continue
		}
		between.WriteByte(data[in.at])
		in.keep(1)
	}
	if _, places := p.text(between.Bytes()); places > 0 || in.inside > maxInside || in.spent() {
		*p.rewriter = before
		p.leave(data)
		return data
	}
	return in.out.Bytes()
}

func isWord(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
}

// known reads a text or an object of its own format, if one comes.
func (p *parser) known() bool {
	if c := p.src[p.at]; c != 's' && c != 'S' && c != 'C' {
		return false
	}
	at, length, before := p.at, p.out.Len(), *p.rewriter
	if p.value(0) {
		return true
	}
	p.at, *p.rewriter = at, before
	p.out.Truncate(length)
	return false
}
