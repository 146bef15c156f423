package php

import "strings"

// function reads a function's declaration; its body may be run later or never. False:
// it is a function without a name, part of an expression.
func (it *interpreter) function() bool {
	n := 1
	if it.ahead(n).text == "&" {
		n++
	}
	if it.ahead(n).kind != tokenName {
		return false
	}
	for range n + 1 {
		it.next()
	}
	it.signature()
	it.body()
	return true
}

// signature passes over parameters and what stands between them and the body.
func (it *interpreter) signature() {
	it.balanced()
	for !it.over() && !it.bad && !it.is("{") && !it.is("=>") && !it.is(";") {
		if it.is("(") {
			it.balanced()
			continue
		}
		it.next()
	}
}

// body reads a function's body: constants that it defines may be defined, variables
// are its own.
func (it *interpreter) body() {
	variables := it.env.variables
	it.repeated("a function", func() {
		it.env.variables = map[string]value{}
		it.block()
	})
	it.env.variables = variables
}

// class passes over a class; what its methods define may be defined.
func (it *interpreter) class() bool {
	if it.ahead(1).kind != tokenName {
		return false // "enum(" is a call
	}
	for !it.over() && !it.is("{") && !it.is(";") {
		it.next()
	}
	start := it.at
	it.balanced()
	it.taint(start, it.at, false) // a class's constants are its own
	return true
}

// balanced passes over what stands between brackets.
func (it *interpreter) balanced() {
	if !it.opens() {
		it.bad = true
		return
	}
	depth := 0
	for !it.over() {
		switch {
		case it.opens():
			depth++
		case it.closes():
			depth--
		}
		it.next()
		if depth == 0 {
			return
		}
	}
}

func (it *interpreter) opens() bool { return it.is("(") || it.is("[") || it.is("{") }

func (it *interpreter) closes() bool { return it.is(")") || it.is("]") || it.is("}") }

// passOver leaves a statement behind that is not understood.
func (it *interpreter) passOver() {
	start := it.at
	for !it.over() {
		switch {
		case it.accept(";"), it.at > start && it.is("}"):
			it.taint(start, it.at, true)
			return
		case it.is("{"):
			it.balanced()
			it.taint(start, it.at, true)
			return
		case it.is("("), it.is("["):
			it.balanced()
		default:
			it.next()
		}
	}
	it.taint(start, it.at, true)
}

// taint makes unknown what is set between two places; consts says that the word const
// makes constants of the file there.
func (it *interpreter) taint(from, to int, consts bool) {
	if it.env.dead {
		return
	}
	const why = "a part of the file that is not understood"
	for i := from; i < to; i++ {
		t := it.tokens[i]
		after := func(n int) token { return it.tokens[min(i+n, len(it.tokens)-1)] }
		switch {
		case t.kind == tokenName && strings.EqualFold(t.text, "define") && after(1).text == "(" && after(2).kind == tokenText:
			it.mayDefine(after(2).text, why, t.line)
		case consts && t.kind == tokenName && strings.EqualFold(t.text, "const") && after(1).kind == tokenName && after(2).text == "=":
			it.mayDefine(after(1).text, why, t.line)
		case t.kind == tokenVariable && after(1).kind == tokenSign && (after(1).text == "=" || after(1).text == ".="):
			it.keep(it.env.variables, t.text, value{why: why, line: t.line})
		}
	}
}

func (it *interpreter) mayDefine(name, why string, line int) {
	if old, ok := it.env.constants[name]; !ok || old.maybe {
		it.keep(it.env.constants, name, value{why: why, maybe: true, line: line})
	}
}
