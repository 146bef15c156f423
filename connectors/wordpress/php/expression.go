package php

import (
	"strconv"
	"strings"
)

// How tightly operators bind, loosest first.
const (
	bindOr = iota + 1
	bindXor
	bindAnd
	bindTernary
	bindCoalesce
	bindEither
	bindBoth
	bindBits
	bindEqual
	bindLess
	bindConcat
	bindPlus
	bindTimes
	bindInstance
	bindUnary
)

// binding gives how tightly the operator binds that comes; 0: none comes.
func (it *interpreter) binding() int {
	t := it.token()
	if t.kind == tokenName {
		switch strings.ToLower(t.text) {
		case "or":
			return bindOr
		case "xor":
			return bindXor
		case "and":
			return bindAnd
		case "instanceof":
			return bindInstance
		}
		return 0
	}
	if t.kind != tokenSign {
		return 0
	}
	switch t.text {
	case "?":
		return bindTernary
	case "??":
		return bindCoalesce
	case "||":
		return bindEither
	case "&&":
		return bindBoth
	case "|", "^", "&":
		return bindBits
	case "==", "!=", "===", "!==", "<>", "<=>":
		return bindEqual
	case "<", "<=", ">", ">=":
		return bindLess
	case ".":
		return bindConcat
	case "+", "-", "<<", ">>":
		return bindPlus
	case "*", "/", "%", "**":
		return bindTimes
	}
	return 0
}

// expression reads one, whose operators bind at least as tightly as least, and runs it.
func (it *interpreter) expression(least int) value {
	defer it.deeper()()
	if it.err != nil || it.bad {
		return unknown("")
	}
	left := it.unary()
	for !it.over() && !it.bad {
		how := it.binding()
		if how == 0 || how < least {
			break
		}
		sign, line := strings.ToLower(it.token().text), it.line()
		it.next()
		switch how {
		case bindTernary:
			left = it.ternary(left, line)
		case bindCoalesce:
			left = it.coalesce(left, line)
		case bindOr, bindEither, bindAnd, bindBoth:
			left = it.shortCut(left, how, line)
		default:
			left = it.operate(sign, left, it.expression(how+1))
		}
	}
	return left
}

// shortCut reads the right side of an and or an or, which is run only if the left side
// does not decide.
func (it *interpreter) shortCut(left value, how, line int) value {
	isOr := how == bindOr || how == bindEither
	truth, known := left.truth()
	var right value
	run := left
	if known {
		run = boolValue(truth != isOr)
	}
	it.when(run, line, func() { right = it.expression(how + 1) })
	if known && truth == isOr {
		return boolValue(isOr)
	}
	decides, rightKnown := right.truth()
	switch {
	case known && rightKnown:
		return boolValue(decides)
	case rightKnown && decides == isOr:
		return boolValue(isOr)
	case known:
		return unknown(right.why)
	default:
		return unknown(left.why)
	}
}

func (it *interpreter) ternary(condition value, line int) value {
	truth, known := condition.truth()
	first := condition
	if !it.is(":") {
		it.when(condition, line, func() { first = it.expression(bindTernary) })
	}
	it.expect(":")
	var second value
	opposite := condition
	if known {
		opposite = boolValue(!truth)
	}
	it.when(opposite, line, func() { second = it.expression(bindTernary + 1) })
	switch {
	case known && truth:
		return first
	case known:
		return second
	case first.kind != isUnknown && first.equal(second):
		return first
	default:
		return unknown(conditionAt(line, condition))
	}
}

func (it *interpreter) coalesce(left value, line int) value {
	var right value
	is := unknown(left.why)
	if left.kind != isUnknown {
		is = boolValue(left.kind == isNull)
	}
	it.when(is, line, func() { right = it.expression(bindCoalesce) })
	if left.kind == isNull {
		return right
	}
	return left
}

// operate combines two values; what is seldom in settings is unknown.
func (it *interpreter) operate(sign string, a, b value) value {
	if a.kind == isUnknown {
		return unknown(a.why)
	}
	if b.kind == isUnknown {
		return unknown(b.why)
	}
	switch sign {
	case ".":
		if len(a.text)+len(b.text) > maxText {
			return unknown("a text that is too long")
		}
		it.spend(len(a.text) + len(b.text))
		return textValue(a.asText() + b.asText())
	case "===", "!==":
		return boolValue(a.equal(b) == (sign == "==="))
	case "==", "!=", "<>":
		if a.kind == b.kind && (a.kind != isText || !numeric(a.text) || !numeric(b.text)) {
			return boolValue(a.equal(b) == (sign == "=="))
		}
	}
	return unknown("the operator " + sign)
}

// numeric texts are compared as numbers.
func numeric(text string) bool {
	_, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	return err == nil
}

// casts are what may stand in parentheses before a value.
var casts = map[string]bool{
	"int": true, "integer": true, "bool": true, "boolean": true, "float": true, "double": true,
	"string": true, "array": true, "object": true, "unset": true, "binary": true,
}

func (it *interpreter) unary() value {
	defer it.deeper()()
	t := it.token()
	if t.kind == tokenSign {
		switch t.text {
		case "!":
			it.next()
			v := it.expression(bindUnary)
			if truth, known := v.truth(); known {
				return boolValue(!truth)
			}
			return unknown(v.why)
		case "@", "+":
			it.next()
			return it.expression(bindUnary)
		case "-", "~", "&", "++", "--", "...":
			it.next()
			it.touch(it.token(), "an operator")
			it.expression(bindUnary)
			return unknown("the operator " + t.text)
		case "(":
			if a := it.ahead(1); a.kind == tokenName && casts[strings.ToLower(a.text)] && it.ahead(2).text == ")" {
				return it.cast(strings.ToLower(a.text))
			}
		}
	}
	if t.kind == tokenName {
		switch strings.ToLower(t.text) {
		case "include", "include_once", "require", "require_once":
			it.next()
			v := it.expression(bindTernary)
			if !it.bad {
				it.include(v, strings.HasPrefix(strings.ToLower(t.text), "require"))
			}
			return unknown("an included file")
		case "print", "clone", "yield", "await", "throw":
			it.next()
			it.expression(bindTernary)
			return unknown("the word " + t.text)
		}
	}
	return it.postfix(it.primary())
}

func (it *interpreter) cast(to string) value {
	it.next()
	it.next()
	it.next()
	v := it.expression(bindUnary)
	truth, known := v.truth()
	switch {
	case !known:
		return unknown(v.why)
	case to == "string":
		return textValue(v.asText())
	case strings.HasPrefix(to, "bool"):
		return boolValue(truth)
	case v.kind == isNumber && strings.HasPrefix(to, "int"):
		return v
	default:
		return unknown("a cast to " + to)
	}
}

// touch notes that a variable may be changed in a way that is not followed.
func (it *interpreter) touch(t token, why string) {
	if t.kind == tokenVariable {
		it.assign(t.text, unknown(why))
	}
}
