package connectors

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"unicode/utf8"
)

// Fields reads a configuration field by field and collects every fault on the
// way, so that a person sees all of them at once. Names are matched exactly,
// unlike encoding/json does it.
type Fields struct {
	raw    map[string]json.RawMessage
	known  map[string]bool
	faults []FieldError
}

// maxConfig bounds a configuration; the largest sensible one is far smaller.
const maxConfig = 1 << 20

// ParseFields starts to read a configuration, which must be one JSON object.
func ParseFields(raw []byte) *Fields {
	f := &Fields{known: map[string]bool{}}
	switch {
	case len(raw) > maxConfig:
		f.Fault("", "must be at most %d bytes long", maxConfig)
	case !utf8.Valid(raw):
		f.Fault("", "must be UTF-8 text")
	case json.Unmarshal(raw, &f.raw) != nil || f.raw == nil:
		f.Fault("", "must be a JSON object")
	}
	return f
}

// Fault records that a field is wrong. An empty name is the whole object.
func (f *Fields) Fault(field, format string, args ...any) {
	f.faults = append(f.faults, FieldError{Field: field, Message: fmt.Sprintf(format, args...)})
}

// Faults gives all that was recorded, after unknown fields were looked for: to
// be called when every known field was read.
func (f *Fields) Faults() []FieldError {
	var unknown []string
	for name := range f.raw {
		if !f.known[name] {
			unknown = append(unknown, name)
		}
	}
	slices.Sort(unknown)
	for _, name := range unknown {
		f.Fault(name, "unknown field; known are %s", strings.Join(f.names(), ", "))
	}
	return f.faults
}

func (f *Fields) names() []string {
	names := make([]string, 0, len(f.known))
	for name := range f.known {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// get decodes one field into v; false means that it is absent, null or wrong.
func (f *Fields) get(name, want string, v any) bool {
	f.known[name] = true
	raw, ok := f.raw[name]
	if !ok || bytes.Equal(raw, []byte("null")) {
		return false
	}
	if err := json.Unmarshal(raw, v); err != nil {
		f.Fault(name, "must be %s", want)
		return false
	}
	return true
}

// Text reads a string that must be there and not empty.
func (f *Fields) Text(name string) string {
	var s string
	before := len(f.faults)
	if !f.get(name, "a string", &s) {
		if len(f.faults) == before && f.raw != nil {
			f.Fault(name, "is required")
		}
		return ""
	}
	if s == "" {
		f.Fault(name, "must not be empty")
	}
	return s
}

// Int reads a whole number between low and high.
func (f *Fields) Int(name string, missing, low, high int) int {
	var n int
	if !f.get(name, "a whole number", &n) {
		return missing
	}
	if n < low || n > high {
		f.Fault(name, "must be between %d and %d", low, high)
	}
	return n
}

// Bool reads true or false.
func (f *Fields) Bool(name string, missing bool) bool {
	var b bool
	if !f.get(name, "true or false", &b) {
		return missing
	}
	return b
}

// Texts reads a list of strings with at most limit items, each of which clean
// checks and brings into its canonical form. The list is never nil; what is wrong
// is named by its index and left out.
func (f *Fields) Texts(name string, limit int, clean func(string) (string, error)) []string {
	var items []json.RawMessage
	list := []string{}
	if !f.get(name, "a list of strings", &items) {
		return list
	}
	if len(items) > limit {
		f.Fault(name, "must have at most %d items", limit)
		return list
	}
	for i, item := range items {
		var s *string
		if err := json.Unmarshal(item, &s); err != nil || s == nil {
			f.Fault(fmt.Sprintf("%s[%d]", name, i), "must be a string")
			continue
		}
		canonical, err := clean(*s)
		if err != nil {
			f.Fault(fmt.Sprintf("%s[%d]", name, i), "%v", err)
			continue
		}
		list = append(list, canonical)
	}
	return list
}

// Given reports whether a field is there and not null.
func (f *Fields) Given(name string) bool {
	raw, ok := f.raw[name]
	return ok && !bytes.Equal(raw, []byte("null"))
}

// OptionalText reads a string that may be absent.
func (f *Fields) OptionalText(name, missing string) string {
	s := missing
	f.get(name, "a string", &s)
	return s
}

// OneOf reads a string that must be one of the words.
func (f *Fields) OneOf(name, missing string, words ...string) string {
	word := f.OptionalText(name, missing)
	if !slices.Contains(words, word) && !f.Wrong(name) {
		f.Fault(name, "must be one of %s", strings.Join(words, ", "))
	}
	return word
}

// Object reads an object inside the configuration with read, whose faults carry the
// object's name in front: "ssh.host". False means that it is absent.
func (f *Fields) Object(name string, read func(*Fields)) bool {
	f.known[name] = true
	if !f.Given(name) {
		return false
	}
	inner := &Fields{known: map[string]bool{}}
	if err := json.Unmarshal(f.raw[name], &inner.raw); err != nil {
		f.Fault(name, "must be an object")
		return true
	}
	read(inner)
	for _, fault := range inner.Faults() {
		f.faults = append(f.faults, FieldError{Field: name + "." + fault.Field, Message: fault.Message})
	}
	return true
}

// Host reads a name or an address that must be there, without a port or brackets.
func (f *Fields) Host(name string) string {
	h := f.Text(name)
	if h == "" {
		return ""
	}
	if inner, ok := strings.CutPrefix(h, "["); ok && strings.HasSuffix(inner, "]") {
		h = strings.TrimSuffix(inner, "]")
	}
	if _, err := netip.ParseAddr(h); err == nil {
		return h
	}
	switch {
	case len(h) > maxHost:
		f.Fault(name, "must be at most %d characters long", maxHost)
	case strings.Contains(h, "://"):
		f.Fault(name, "must be a name or an address alone, without a scheme")
	case strings.Contains(h, ":"):
		f.Fault(name, "must be a name or an address alone; the port is a field of its own")
	case strings.ContainsFunc(h, func(r rune) bool { return r <= ' ' || r == 0x7f || strings.ContainsRune(`/\@"'[]<>`, r) }):
		f.Fault(name, "must be a name or an address")
	}
	return h
}

// Username reads the name of an account, which must be there.
func (f *Fields) Username(name string) string {
	u := f.Text(name)
	switch {
	case len(u) > maxUsername:
		f.Fault(name, "must be at most %d bytes long", maxUsername)
	case strings.ContainsFunc(u, func(r rune) bool { return r < ' ' || r == 0x7f }):
		f.Fault(name, "must not hold control characters")
	}
	return u
}

// Limits of what every configuration has.
const (
	maxHost     = 253
	maxUsername = 255
)

// Wrong reports whether a fault of the field, or of an item of it, was recorded.
func (f *Fields) Wrong(name string) bool {
	return slices.ContainsFunc(f.faults, func(e FieldError) bool {
		return e.Field == name || strings.HasPrefix(e.Field, name+"[") || strings.HasPrefix(e.Field, name+".")
	})
}
