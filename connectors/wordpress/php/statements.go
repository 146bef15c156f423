package php

import "strings"

// statements reads until the end of the file, or until ended says that what encloses
// them ends.
func (it *interpreter) statements(ended func() bool) {
	for !it.over() && !ended() {
		if it.env.ended != goesOn && !it.env.dead {
			it.never(it.statement)
			continue
		}
		it.statement()
	}
}

// statement reads one. What is not understood is passed over.
func (it *interpreter) statement() {
	defer it.deeper()()
	if it.over() {
		return
	}
	start := it.at
	it.one()
	if it.bad && it.err == nil {
		it.bad = false
		it.at = start
		it.passOver()
	}
}

func (it *interpreter) one() {
	t := it.token()
	if t.kind == tokenSign {
		switch t.text {
		case ";":
			it.next()
			return
		case "{":
			it.block()
			return
		}
	}
	if t.kind == tokenName && it.keyword(strings.ToLower(t.text)) {
		return
	}
	it.expression(0)
	it.terminator()
}

// terminator ends a statement. The end of the file does, too.
func (it *interpreter) terminator() {
	if it.token().kind != tokenEnd {
		it.expect(";")
	}
}

func (it *interpreter) block() {
	it.expect("{")
	it.statements(func() bool { return it.is("}") })
	it.expect("}")
}

// keyword reads the statement that a word begins; false: it begins none.
func (it *interpreter) keyword(word string) bool {
	switch word {
	case "if":
		it.ifStatement()
	case "while", "for", "foreach", "switch", "declare":
		it.loop(word)
	case "do":
		it.next()
		it.repeated("a loop", it.statement)
		it.expect("while")
		it.parentheses()
		it.terminator()
	case "try":
		it.tryStatement()
	case "function":
		return it.function()
	case "abstract", "final", "readonly", "class", "interface", "trait", "enum":
		return it.class()
	case "const":
		it.constants()
	case "return":
		it.end(returned)
	case "case", "default":
		return it.label(word)
	case "echo", "global", "static", "break", "continue", "goto", "throw", "use", "namespace", "unset":
		return it.simple(word)
	default:
		return false
	}
	return true
}

func (it *interpreter) end(how ending) {
	it.next()
	if !it.is(";") && it.token().kind != tokenEnd {
		it.expression(0)
	}
	it.terminator()
	it.ends(how)
}

// simple reads statements that set nothing, or what nobody can tell.
func (it *interpreter) simple(word string) bool {
	after := it.ahead(1)
	if word == "static" && after.kind != tokenVariable || after.kind == tokenSign && after.text == "(" && word != "echo" && word != "unset" && word != "throw" {
		return false
	}
	for !it.over() && !it.is(";") && !it.is("{") {
		switch t := it.token(); {
		case t.kind == tokenVariable && word != "echo":
			it.assign(t.text, unknown("the statement "+word))
			it.next()
		case word == "echo" && !it.is("echo") && !it.is(","):
			it.expression(0)
			if it.bad {
				return true
			}
		default:
			it.next()
		}
	}
	switch {
	case word == "throw":
		it.ends(exited)
	case word == "namespace" && it.is("{"):
		it.block()
		return true
	case it.is("{"): // use a\{b, c}
		it.balanced()
	}
	it.terminator()
	return true
}

// label passes over that of a switch.
func (it *interpreter) label(word string) bool {
	if word == "default" && it.ahead(1).text != ":" && it.ahead(1).text != ";" {
		return false
	}
	it.next()
	if word == "case" {
		it.expression(0)
	}
	if !it.accept(":") {
		it.expect(";")
	}
	return true
}

func (it *interpreter) constants() {
	it.next()
	for !it.over() && !it.bad {
		name := it.token()
		if name.kind != tokenName {
			it.bad = true
			return
		}
		it.next()
		it.expect("=")
		start := it.at
		v := it.expression(0)
		v.place = it.placeSince(start)
		it.define(name.text, v)
		if !it.accept(",") {
			break
		}
	}
	it.terminator()
}

// parentheses reads a condition.
func (it *interpreter) parentheses() value {
	it.expect("(")
	v := it.expression(0)
	it.expect(")")
	return v
}

func (it *interpreter) ifStatement() {
	line := it.line()
	it.next()
	condition := it.parentheses()
	truth, known := condition.truth()
	other := it.env
	switch {
	case it.env.dead:
	case known && !truth:
		other = it.env
		it.env = newEnv()
		it.env.dead = true
	case known:
		other = newEnv()
		other.dead = true
	default:
		it.branch()
		other = it.env.clone()
	}
	colon := it.accept(":")
	if it.bad {
		it.env = living(it.env, other)
		return
	}
	if colon {
		it.statements(func() bool { return it.is("elseif") || it.is("else") || it.is("endif") })
	} else {
		it.statement()
	}
	other = it.within(other, func() { it.otherwise(colon) })
	switch {
	case it.env.dead || other.dead:
		it.env = living(it.env, other)
	default:
		it.env = it.merge(it.env, other, conditionAt(line, condition))
	}
}

// living is the one of two ways that is gone; both may be dead.
func living(a, b *env) *env {
	if a.dead {
		return b
	}
	return a
}

// otherwise reads what follows an if's first branch, up to its end.
func (it *interpreter) otherwise(colon bool) {
	switch {
	case it.is("elseif"), it.is("else") && it.ahead(1).kind == tokenName && strings.EqualFold(it.ahead(1).text, "if") && !colon:
		if it.is("else") {
			it.next()
		}
		it.ifStatement() // takes what follows, the end included
	case it.accept("else"):
		if !colon {
			it.statement()
			return
		}
		it.expect(":")
		it.statements(func() bool { return it.is("endif") })
		it.expect("endif")
		it.terminator()
	case colon:
		it.expect("endif")
		it.terminator()
	}
}

// loop reads what is run any number of times, or in parts.
func (it *interpreter) loop(word string) {
	it.next()
	it.balanced()
	why := "a loop"
	switch word {
	case "switch":
		why = "a switch"
	case "declare":
		if it.accept(";") {
			return
		}
	}
	if it.accept(":") {
		it.repeated(why, func() { it.statements(func() bool { return it.is("end" + word) }) })
		it.expect("end" + word)
		it.terminator()
		return
	}
	if it.bad {
		return
	}
	it.repeated(why, it.statement)
}

func (it *interpreter) tryStatement() {
	it.next()
	it.block()
	for !it.over() && !it.bad && it.accept("catch") {
		it.balanced()
		it.perhaps("a failure that is caught", it.block)
	}
	if it.accept("finally") {
		it.block()
	}
}
