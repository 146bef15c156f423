// Package phpdata changes texts inside values that PHP serialized, and keeps them what
// PHP reads: it touches nothing but the texts and the lengths that count their bytes.
//
// # What it understands
//
// All of PHP's format: arrays, objects, objects with a format of their own (C:), enums,
// references, and texts that are serialized values themselves, to some depth. What it
// changes are texts and keys of arrays; names of classes and of properties never.
// References stay right, for they count values, of which none is added or taken away.
//
// # What it promises
//
// A value that looks serialized, but is not whole, is left as it is, and so is what is in
// an object's own format and cannot be told from what counts its bytes. What was left and
// should have been changed is counted. The input is hostile: depth is bounded, and time
// and memory are proportional to the value's length.
package phpdata

import (
	"bytes"
	"regexp"
	"strconv"
)

// Text changes one text, and tells how many places in it are others now. It must not
// keep or alter what it is given. Where nothing is to be changed it gives back zero, and
// the text.
type Text func(text []byte) (changed []byte, places int)

// Result is what became of a value.
type Result struct {
	Value   []byte // the one that was given, where Changed is zero
	Changed int    // places that are others now
	Left    int    // places that should be, and could not be changed safely
}

const (
	// maxDepth is how deep PHP itself reads.
	maxDepth = 4096
	// maxInside is how often a text may be a serialized value inside another.
	maxInside = 16
	// patience and patienceMore bound the bytes that are looked at more than once, as
	// lengths say that overlap: so many times the value's, and some more.
	patience     = 4
	patienceMore = 64 << 10
)

// budget is what may still be looked at again in a value. It is never given back, also
// not where what was found is let go.
type budget struct{ left int }

// take reports whether n bytes more may be looked at.
func (b *budget) take(n int) bool {
	b.left -= min(n, b.left+1)
	return !b.spent()
}

func (b *budget) spent() bool { return b.left < 0 }

// Rewrite changes the texts in a value, which may be serialized or not.
func Rewrite(value []byte, text Text) Result {
	w := &rewriter{text: text, budget: &budget{left: patience*len(value) + patienceMore}}
	out := w.rewrite(value, 0)
	if w.changed == 0 {
		out = value
	}
	return Result{out, w.changed, w.left}
}

type rewriter struct {
	*budget
	text          Text
	changed, left int
	moved         int
}

// serialized is how values begin that hold texts.
var serialized = regexp.MustCompile(`^(?:a:\d+:\{|O:\d+:"|C:\d+:"|E:\d+:"|[sS]:\d+:")`)

// space is what WordPress cuts off before it looks.
const space = " \t\n\r\x00\x0b"

func (w *rewriter) rewrite(value []byte, inside int) []byte {
	core := bytes.Trim(value, space)
	if !serialized.Match(core) {
		return w.plain(value)
	}
	begin := bytes.Index(value, core)
	if _, places := w.text(core); places == 0 {
		return value // so most values are not gone through
	}
	before := *w
	p := &parser{rewriter: w, src: core, inside: inside}
	if inside > maxInside || !p.value(0) || p.at != len(core) {
		*w = before
		w.leave(value)
		return value
	}
	out := append(bytes.Clone(value[:begin]), p.out.Bytes()...)
	return append(out, value[begin+len(core):]...)
}

// leave counts what is not changed.
func (w *rewriter) leave(value []byte) {
	_, places := w.text(value)
	w.left += places
}

// counted is how a text with a length begins, in a text that holds more than it, with its
// quotes escaped or not.
var counted = regexp.MustCompile(`[sS]:(\d{1,9}):(\\*)"`)

// plain changes a text that is not serialized. If it holds serialized ones among others,
// in JSON say, changing them would make their lengths wrong.
func (w *rewriter) plain(value []byte) []byte {
	out, places := w.text(value)
	if places == 0 {
		return value
	}
	if len(out) != len(value) && w.countedIn(value) {
		w.left += places
		return value
	}
	w.changed += places
	return out
}

// countedIn reports whether there is such a text, with something to be changed in it.
// One whose length is wrong is none. With escaped quotes nobody can tell, nor where there
// are more of them than may be looked at.
func (w *rewriter) countedIn(value []byte) bool {
	for _, at := range counted.FindAllSubmatchIndex(value, -1) {
		text := value[at[1]:]
		n, err := strconv.Atoi(string(value[at[2]:at[3]]))
		switch plain := at[4] == at[5]; {
		case err != nil || plain && (n >= len(text) || text[n] != '"'):
			continue
		case plain:
			text = text[:n]
		default:
			if end := bytes.IndexByte(text, '"'); end >= 0 {
				text = text[:end]
			}
		}
		if !w.take(len(text)) {
			return true
		}
		if _, places := w.text(text); places > 0 {
			return true
		}
	}
	return false
}
