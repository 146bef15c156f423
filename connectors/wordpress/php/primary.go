package php

import (
	"path"
	"strconv"
	"strings"
)

// primary reads what stands between operators.
func (it *interpreter) primary() value {
	t := it.token()
	switch t.kind {
	case tokenText:
		it.next()
		return textValue(t.text)
	case tokenUnknown:
		it.next()
		return unknown(t.text)
	case tokenNumber:
		it.next()
		if n, err := strconv.ParseInt(t.text, 0, 64); err == nil && (t.text == "0" || t.text[0] != '0' || len(t.text) > 1) {
			return numberValue(n)
		}
		return unknown("a number") // it may be a password
	case tokenVariable:
		it.next()
		return it.variable(t)
	case tokenName:
		return it.named(t)
	case tokenSign:
		return it.bracketed(t)
	}
	it.bad = true
	return unknown("")
}

func (it *interpreter) bracketed(t token) value {
	switch t.text {
	case "(":
		it.next()
		v := it.expression(0)
		it.expect(")")
		return v
	case "[":
		it.array("[", "]")
		return unknown("an array")
	case "$":
		it.next()
		if it.is("{") {
			it.balanced()
		} else {
			it.primary()
		}
		return unknown("a variable's variable")
	}
	it.bad = true
	return unknown("")
}

// array reads the elements of an array, or the arguments of a call.
func (it *interpreter) array(open, closes string) (elements []value) {
	it.expect(open)
	var places []Place
	for !it.over() && !it.bad && !it.is(closes) {
		if it.accept(",") {
			continue
		}
		start := it.at
		v := it.expression(0)
		places = append(places, it.placeSince(start))
		if it.accept("=>") {
			v = it.expression(0)
		}
		if t := it.token(); t.kind == tokenSign && t.text == ":" { // the name of an argument
			it.next()
			v = unknown("a named argument")
			it.expression(0)
		}
		elements = append(elements, v)
		if !it.is(",") && !it.is(closes) {
			it.bad = true
		}
	}
	it.expect(closes)
	it.places = places
	return elements
}

// variable reads one, and what is assigned to it.
func (it *interpreter) variable(t token) value {
	name := t.text
	if name == "GLOBALS" && it.is("[") && it.ahead(1).kind == tokenText && it.ahead(2).text == "]" {
		name = it.ahead(1).text
		it.next()
		it.next()
		it.next()
	}
	sign := it.token()
	if sign.kind != tokenSign {
		return it.valueOf(name)
	}
	switch sign.text {
	case "=":
		it.next()
		it.accept("&")
		v := it.expression(bindTernary)
		it.assign(name, v)
		return v
	case ".=":
		it.next()
		v := it.operate(".", it.valueOf(name), it.expression(bindTernary))
		it.assign(name, v)
		return v
	case "??=", "+=", "-=", "*=", "/=", "%=", "**=", "<<=", ">>=", "&=", "|=", "^=":
		it.next()
		v := unknown("the operator " + sign.text)
		it.expression(bindTernary)
		it.assign(name, v)
		return v
	case "++", "--":
		it.next()
		it.assign(name, unknown("the operator "+sign.text))
		return unknown("the operator " + sign.text)
	case "[", "->", "?->", "::":
		why := "$" + name
		if t := it.ahead(1); sign.text == "[" && t.kind == tokenText {
			why += "['" + cut(t.text) + "']"
		}
		if v, ok := it.superglobal(name); ok {
			return v
		}
		it.indices()
		if it.accept("=") || it.accept(".=") || it.accept("??=") {
			it.accept("&")
			it.expression(bindTernary)
			it.assign(name, unknown("an array"))
		}
		return unknown(why)
	}
	return it.valueOf(name)
}

// superglobal reads $_ENV['name'] and $_SERVER['name'], where it is known and read only.
func (it *interpreter) superglobal(name string) (value, bool) {
	index, closes, after := it.ahead(1), it.ahead(2), it.ahead(3)
	if name != "_ENV" && name != "_SERVER" || !it.is("[") || index.kind != tokenText || closes.kind != tokenSign || closes.text != "]" {
		return value{}, false
	}
	if after.kind == tokenSign && (strings.HasSuffix(after.text, "=") && after.text != "==" && after.text != "===" && after.text != "!=" && after.text != "!==" && after.text != "<=" && after.text != ">=" || after.text == "[" || after.text == "++" || after.text == "--") {
		return value{}, false
	}
	v, ok := it.lookUp(name, index.text)
	if !ok {
		return value{}, false
	}
	it.next()
	it.next()
	it.next()
	return v, true
}

func (it *interpreter) valueOf(name string) value {
	if v, ok := it.env.variables[name]; ok {
		return v
	}
	return unknown("$" + name)
}

// postfix reads what may follow a value.
func (it *interpreter) postfix(v value) value {
	if it.is("[") || it.is("->") || it.is("?->") || it.is("::") || it.is("(") {
		it.indices()
		v = unknown("an expression that is not followed")
	}
	if it.is("=") || it.is("++") || it.is("--") { // of an element or a property
		it.next()
		if it.binding() == 0 && !it.is(";") && !it.is(")") && !it.is(",") {
			it.expression(bindTernary)
		}
		v = unknown("an assignment")
	}
	return v
}

// indices passes over elements, properties and calls of methods.
func (it *interpreter) indices() {
	for !it.over() && !it.bad {
		switch {
		case it.is("[") && it.ahead(1).text == "]" && it.ahead(1).kind == tokenSign:
			it.next()
			it.next()
		case it.is("["):
			it.array("[", "]")
		case it.is("("):
			it.array("(", ")")
		case it.is("->"), it.is("?->"), it.is("::"):
			it.next()
			if it.is("{") {
				it.balanced()
			} else {
				it.next()
			}
		default:
			return
		}
	}
}

// named reads a constant, a call or a word of the language.
func (it *interpreter) named(t token) value {
	word := strings.ToLower(t.text)
	it.next()
	switch word {
	case "new":
		return it.newObject()
	case "function", "fn":
		it.accept("&")
		it.signature()
		if it.accept("=>") {
			it.perhaps("a function", func() { it.expression(bindTernary) })
		} else {
			it.body()
		}
		return unknown("a function")
	case "static":
		if it.is("function") || it.is("fn") {
			return it.named(it.token())
		}
	case "match":
		if it.is("(") {
			it.balanced()
			start := it.at
			it.balanced()
			it.taint(start, it.at, true)
			return unknown("a match")
		}
	case "isset":
		return it.isset()
	case "exit", "die":
		if it.is("(") {
			it.array("(", ")")
		}
		it.ends(exited)
		return unknown("the end")
	}
	if it.is("(") {
		return it.call(t)
	}
	if it.is("::") {
		return unknown("the class " + cut(t.text))
	}
	return it.constant(t.text)
}

func (it *interpreter) newObject() value {
	for !it.over() && !it.is("(") && !it.is(";") && !it.is(")") && !it.is(",") && !it.is("{") {
		it.next()
	}
	if it.is("(") {
		it.array("(", ")")
	}
	for !it.over() && !it.bad && it.token().kind == tokenName { // class (...) extends a implements b
		it.next()
	}
	if it.is("{") {
		start := it.at
		it.balanced()
		it.taint(start, it.at, false)
	}
	return unknown("an object")
}

// isset tells of a plain variable only.
func (it *interpreter) isset() value {
	it.expect("(")
	t, end := it.token(), it.ahead(1)
	if t.kind == tokenVariable && end.kind == tokenSign && end.text == ")" {
		it.next()
		it.next()
		v, ok := it.env.variables[t.text]
		switch {
		case ok && v.kind != isUnknown:
			return boolValue(v.kind != isNull)
		case ok && !v.maybe:
			return unknown(v.why)
		case !ok && !strings.HasPrefix(t.text, "_") && t.text != "GLOBALS":
			return boolValue(false)
		}
		return unknown("$" + t.text)
	}
	why := "isset"
	if t.kind == tokenVariable {
		why = "$" + t.text
		if index := it.ahead(2); end.kind == tokenSign && end.text == "[" && index.kind == tokenText {
			why += "['" + cut(index.text) + "']"
			if it.ahead(4).text == ")" {
				it.next()
				if v, ok := it.superglobal(t.text); ok {
					it.expect(")")
					return boolValue(v.kind != isNull)
				}
				it.at-- // nothing was read
			}
		}
	}
	for !it.over() && !it.bad && !it.is(")") {
		it.expression(0)
		it.accept(",")
	}
	it.expect(")")
	return unknown(why)
}

// constant gives a constant's value.
func (it *interpreter) constant(name string) value {
	switch strings.ToLower(name) {
	case "true", "false":
		return boolValue(strings.EqualFold(name, "true"))
	case "null":
		return value{kind: isNull}
	case "__dir__":
		return textValue(path.Dir(it.file))
	case "__file__":
		return textValue(it.file)
	}
	if v, ok := it.env.constants[name]; ok {
		return v
	}
	switch name {
	case "DIRECTORY_SEPARATOR":
		return textValue("/")
	case "PHP_EOL":
		return textValue("\n")
	}
	return unknown("the constant " + cut(name))
}
