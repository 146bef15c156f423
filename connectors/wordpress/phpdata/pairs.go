package phpdata

import (
	"bytes"
	"regexp"
)

// pairKey is a key that should be another one.
type pairKey struct {
	from, to int // where it stands in what is written
	text     []byte
	places   int
}

// maxMoved bounds the bytes that are written again because a key before them changed.
const maxMoved = 1 << 30

// keyNumber is a key that is a number.
var keyNumber = regexp.MustCompile(`^i:[+-]?\d{1,20};`)

// pairs reads n keys, each with its value. Keys are changed where they may be, and where
// no other one is called so already.
func (p *parser) pairs(n, depth int, mayChange bool) bool {
	if n > len(p.src)-p.at {
		return false // each needs more than one byte
	}
	begin := p.out.Len()
	var other []pairKey
	names := map[string]bool{}
	for range n {
		key, isText, ok := p.key()
		if !ok {
			return false
		}
		if isText {
			at := p.out.Len()
			p.putText(key)
			if text, places := p.text(key); places > 0 {
				other = append(other, pairKey{at, p.out.Len(), text, places})
			}
			if mayChange {
				names[string(key)] = true
			}
		}
		if !p.value(depth + 1) {
			return false
		}
	}
	p.rename(begin, other, names, mayChange)
	return true
}

func (p *parser) key() (text []byte, isText, ok bool) {
	if m := keyNumber.Find(p.rest()); m != nil {
		return nil, false, p.keep(len(m))
	}
	if p.at >= len(p.src) || p.src[p.at] != 's' && p.src[p.at] != 'S' {
		return nil, false, false
	}
	text, ok = p.takeText()
	return text, true, ok
}

// rename writes the keys that should be others. begin is where the first pair was
// written.
func (p *parser) rename(begin int, keys []pairKey, names map[string]bool, mayChange bool) {
	if len(keys) == 0 {
		return
	}
	if p.moved += p.out.Len() - begin; p.moved > maxMoved {
		for _, k := range keys {
			p.left += k.places
		}
		return
	}
	was := bytes.Clone(p.out.Bytes()[begin:])
	p.out.Truncate(begin)
	at := 0
	for _, k := range keys {
		p.out.Write(was[at : k.from-begin])
		at = k.to - begin
		if !mayChange || names[string(k.text)] {
			p.left += k.places
			p.out.Write(was[k.from-begin : at])
			continue
		}
		names[string(k.text)] = true
		p.changed += k.places
		p.putText(k.text)
	}
	p.out.Write(was[at:])
}
