package php

import (
	"path"
	"strings"
)

// call reads a call and does what the few functions do that settings use.
func (it *interpreter) call(t token) value {
	name := strings.ToLower(t.text)
	first := it.ahead(1) // of the arguments
	args := it.array("(", ")")
	if it.bad {
		return unknown("")
	}
	if name == "putenv" {
		it.assign("getenv()", unknown("putenv()"))
		it.assign("_ENV", unknown("putenv()"))
	}
	if strings.TrimPrefix(name, `\`) == "define" && len(args) > 1 && len(it.places) == len(args) {
		args[1].place = it.places[1]
	}
	if v, ok := it.known(name, args); ok {
		return v
	}
	why := cut(t.text) + "()"
	if first.kind == tokenText && asksFor[name] { // others may be given a password
		why = cut(t.text) + "('" + cut(first.text) + "')"
	}
	return unknown(why)
}

// asksFor are the functions whose first argument is a name or a pattern.
var asksFor = map[string]bool{"getenv": true, "getenv_docker": true, "preg_replace": true, "env": true, `env\env`: true, "defined": true, "constant": true, "file_exists": true, "is_file": true, "is_readable": true}

// known does the functions that are known; false: it is none of them, or what it is
// given is unknown.
func (it *interpreter) known(name string, args []value) (value, bool) {
	if len(args) == 0 {
		return value{}, false
	}
	arg := args[0]
	if arg.kind == isUnknown {
		if name == "define" || name == "defined" || name == "constant" {
			return unknown(arg.why), true
		}
		return value{}, false
	}
	text := arg.asText()
	it.spend(len(text))
	switch name {
	case "define":
		if len(args) < 2 {
			it.bad = true
			return value{}, false
		}
		it.define(strings.TrimPrefix(text, `\`), args[1])
		return boolValue(true), true
	case "defined":
		return it.defined(text), true
	case "constant":
		return it.constant(text), true
	case "dirname":
		return dirname(text, args[1:])
	case "trim", "rtrim", "ltrim", "untrailingslashit", "trailingslashit", "strtolower", "basename":
		if len(args) > 1 {
			return value{}, false
		}
		return textValue(changed(name, text)), true
	case "file_exists", "is_file", "is_readable":
		return it.exists(text, name == "is_file")
	case "getenv", "getenv_docker", "env", `env\env`:
		return it.environment(name, args)
	case "preg_replace":
		return it.replaced(args)
	}
	return value{}, false
}

func (it *interpreter) defined(name string) value {
	v, ok := it.env.constants[strings.TrimPrefix(name, `\`)]
	if ok && v.maybe {
		return unknown(v.why)
	}
	return boolValue(ok)
}

func dirname(text string, more []value) (value, bool) {
	levels := int64(1)
	if len(more) > 0 {
		if more[0].kind != isNumber || more[0].number < 1 || more[0].number > 100 {
			return value{}, false
		}
		levels = more[0].number
	}
	for range levels {
		text = strings.TrimRight(text, "/")
		text = path.Dir(text)
	}
	return textValue(text), true
}

func changed(name, text string) string {
	const space = " \t\n\r\x00\x0b"
	switch name {
	case "trim":
		return strings.Trim(text, space)
	case "rtrim":
		return strings.TrimRight(text, space)
	case "ltrim":
		return strings.TrimLeft(text, space)
	case "untrailingslashit":
		return strings.TrimRight(text, `/\`)
	case "trailingslashit":
		return strings.TrimRight(text, `/\`) + "/"
	case "strtolower":
		return strings.ToLower(text)
	default:
		return path.Base(text)
	}
}

func (it *interpreter) exists(name string, file bool) (value, bool) {
	if it.config.Exists == nil || !path.IsAbs(name) || it.env.dead {
		return value{}, false
	}
	if it.includes++; it.includes > 4*maxIncludes {
		return value{}, false
	}
	there, err := it.config.Exists(path.Clean(name))
	if err != nil {
		it.fail(err)
	}
	if there == Hidden {
		return value{}, false
	}
	return boolValue(there == File || there == Other && !file), true
}
