package php

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// shared is what all files of one reading have in common.
type shared struct {
	steps, depth, branches, includes int

	work        int    // bytes of texts that were made or searched
	complete    *env   // of ways that reached Config.Last while others went on; may be nil
	completeWhy string // of the last of them
	err         error  // ends the whole reading
}

// interpreter goes through the tokens of one file, and keeps what is set.
type interpreter struct {
	config Config
	*shared
	file   string // its path
	tokens []token
	at     int
	env    *env
	bad    bool    // the statement is not understood
	places []Place // of the elements that were read last

	gone    *env   // of ways that returned from the file while others went on; may be nil
	goneWhy string // of the last of them
	// unsure is why what is set is not known, whatever it is set to: it is read in one go
	// and run in parts, in another order, or again.
	unsure string
}

var errTooMuch = errors.New("it is too large or too nested to be understood")

// run goes through a file.
func (it *interpreter) run(src []byte) error {
	var err error
	if it.tokens, err = lex(src); err != nil {
		return err
	}
	it.statements(func() bool { return false })
	return it.err
}

func (it *interpreter) token() token { return it.tokens[it.at] }

// ahead is the token after the next ones.
func (it *interpreter) ahead(n int) token { return it.tokens[min(it.at+n, len(it.tokens)-1)] }

func (it *interpreter) line() int { return it.token().line }

func (it *interpreter) over() bool {
	return it.err != nil || it.token().kind == tokenEnd
}

func (it *interpreter) next() {
	if it.steps++; it.steps > maxSteps {
		it.fail(errTooMuch)
	}
	if it.at < len(it.tokens)-1 {
		it.at++
	}
}

// fail ends the whole reading; the first error counts.
func (it *interpreter) fail(err error) {
	if it.err == nil {
		it.err = err
	}
}

// is reports whether a sign, or a word of the language, comes.
func (it *interpreter) is(text string) bool {
	t := it.token()
	switch t.kind {
	case tokenSign:
		return t.text == text
	case tokenName:
		return isNameStart(text[0]) && strings.EqualFold(t.text, text)
	default:
		return false
	}
}

func (it *interpreter) accept(text string) bool {
	if !it.is(text) {
		return false
	}
	it.next()
	return true
}

func (it *interpreter) expect(text string) {
	if !it.accept(text) {
		it.bad = true
	}
}

// deeper guards against nesting that never ends; the caller has to call the result.
func (it *interpreter) deeper() func() {
	if it.depth++; it.depth > maxDepth {
		it.fail(errTooMuch)
	}
	return func() { it.depth-- }
}

// within runs what is read on another state, and gives that state as it is then.
func (it *interpreter) within(e *env, read func()) *env {
	own := it.env
	it.env = e
	read()
	e, it.env = it.env, own
	return e
}

// never reads what is not run.
func (it *interpreter) never(read func()) {
	dead := newEnv()
	dead.dead = true
	it.within(dead, read)
}

// perhaps reads what may or may not be run, for a reason.
func (it *interpreter) perhaps(why string, read func()) {
	if it.env.dead {
		read()
		return
	}
	it.branch()
	run := it.within(it.env.clone(), read)
	it.env = it.merge(run, it.env, why)
}

// repeated reads what is run any number of times, or in parts.
func (it *interpreter) repeated(why string, read func()) {
	outer := it.unsure
	it.unsure = why
	it.perhaps(why, read)
	it.unsure = outer
}

// ends notes that nothing after comes to be run.
func (it *interpreter) ends(how ending) {
	if !it.env.dead && it.unsure == "" {
		it.env.ended = how
	}
}

// spend bounds what texts are made and searched: a few lines can ask for terabytes.
func (it *interpreter) spend(bytes int) {
	if it.work += bytes; it.work > maxWork {
		it.fail(errTooMuch)
	}
}

func (it *interpreter) branch() {
	if it.branches++; it.branches > maxBranches {
		it.fail(errTooMuch)
	}
}

// when reads what is run if a condition holds.
func (it *interpreter) when(condition value, line int, read func()) {
	truth, known := condition.truth()
	switch {
	case it.env.dead || known && truth:
		read()
	case known:
		it.never(read)
	default:
		it.perhaps(conditionAt(line, condition), read)
	}
}

func conditionAt(line int, v value) string {
	if v.why == "" {
		return fmt.Sprintf("a condition in line %d", line)
	}
	return fmt.Sprintf("a condition in line %d, on %s", line, cut(v.why))
}

// cut bounds reasons, which may quote each other.
func cut(why string) string {
	const most = 200
	if len(why) > most {
		return why[:most] + "..."
	}
	return why
}

// define sets a constant; what is defined already stays.
func (it *interpreter) define(name string, v value) {
	if it.env.dead {
		return
	}
	old, ok := it.env.constants[name]
	switch {
	case ok && !old.maybe:
		return
	case ok:
		v = value{why: old.why}
	case it.unsure != "":
		v = value{why: it.unsure, maybe: true}
	}
	v.line = it.line()
	it.keep(it.env.constants, name, v)
}

// assign sets a variable.
func (it *interpreter) assign(name string, v value) {
	if it.env.dead {
		return
	}
	if it.unsure != "" {
		v = unknown(it.unsure)
	}
	v.line = it.line()
	it.keep(it.env.variables, name, v)
}

func (it *interpreter) keep(in map[string]value, name string, v value) {
	if len(v.text) > maxText {
		v = value{why: "a text that is too long", line: v.line}
	}
	v.why = cut(v.why)
	in[name] = v
	if len(in) > maxNames {
		it.fail(errTooMuch)
	}
}

// include runs another file in place.
func (it *interpreter) include(v value, must bool) {
	if it.env.dead {
		return
	}
	if v.kind != isText {
		return
	}
	name := v.text
	if it.config.Last != "" && path.Base(name) == it.config.Last {
		it.ends(reached)
		return
	}
	if it.config.Load == nil {
		return
	}
	if !path.IsAbs(name) {
		name = path.Join(path.Dir(it.file), name)
	}
	name = path.Clean(name)
	if it.includes++; it.includes > maxIncludes || it.depth > maxDepth/2 {
		it.fail(fmt.Errorf("it includes too many files, %.100q the last", name))
		return
	}
	src, err := it.config.Load(name)
	switch {
	case err != nil && !must && errors.Is(err, fs.ErrNotExist):
		return
	case err != nil:
		it.fail(fmt.Errorf("it includes %.200q, which cannot be read: %w", name, err))
		return
	case len(src) > MaxFile:
		it.fail(fmt.Errorf("it includes %.200q, which is too long", name))
		return
	}
	inner := &interpreter{config: it.config, shared: it.shared, file: name, env: it.env, unsure: it.unsure}
	leave := it.deeper()
	defer leave()
	if err := inner.run(src); err != nil {
		it.fail(fmt.Errorf("in %.200q: %w", name, err))
		return
	}
	it.env = inner.env
	if it.env.ended == returned {
		it.env.ended = goesOn
	}
	if inner.gone != nil {
		inner.gone.ended = goesOn
		it.env = it.merge(inner.gone, it.env, inner.goneWhy)
	}
}
