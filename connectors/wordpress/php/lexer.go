package php

import (
	"bytes"
	"fmt"
	"strings"
)

type tokenKind uint8

const (
	tokenEnd tokenKind = iota
	tokenName
	tokenVariable // text is without the dollar
	tokenText     // text is the content
	tokenNumber
	tokenUnknown // a text that only a running program knows; text says what
	tokenSign
)

type token struct {
	kind tokenKind
	text string
	line int
	from int // its bytes in the file
	to   int
}

// lexer cuts a file into tokens.
type lexer struct {
	src    []byte
	at     int
	line   int
	tokens []token
}

var (
	openTag  = []byte("<?php")
	openEcho = []byte("<?=")
	closeTag = []byte("?>")
)

// lex cuts a file into tokens; the last one is tokenEnd.
func lex(src []byte) ([]token, error) {
	l := &lexer{src: src, line: 1}
	for l.open() {
		if err := l.code(); err != nil {
			return nil, fmt.Errorf("line %d: %w", l.line, err)
		}
	}
	l.add(tokenEnd, "")
	return l.tokens, nil
}

func (l *lexer) add(kind tokenKind, text string) {
	l.tokens = append(l.tokens, token{kind: kind, text: text, line: l.line})
}

// skip moves on and counts lines.
func (l *lexer) skip(n int) {
	n = min(n, len(l.src)-l.at)
	l.line += bytes.Count(l.src[l.at:l.at+n], []byte("\n"))
	l.at += n
}

func (l *lexer) rest() []byte { return l.src[l.at:] }

func (l *lexer) starts(with string) bool { return bytes.HasPrefix(l.rest(), []byte(with)) }

// open goes to where PHP begins; false: nowhere.
func (l *lexer) open() bool {
	for {
		i := bytes.Index(l.rest(), []byte("<?"))
		if i < 0 {
			return false
		}
		l.skip(i)
		after := l.rest()[min(len(openTag), len(l.rest())):]
		switch {
		case bytes.EqualFold(l.rest()[:min(len(openTag), len(l.rest()))], openTag) && (len(after) == 0 || after[0] <= ' '):
			l.skip(len(openTag))
			return true
		case bytes.HasPrefix(l.rest(), openEcho):
			l.skip(len(openEcho))
			l.add(tokenName, "echo")
			return true
		}
		l.skip(2)
	}
}

// code cuts what lies between two tags.
func (l *lexer) code() error {
	for l.at < len(l.src) {
		start, first := l.at, len(l.tokens)
		switch c := l.src[l.at]; {
		case c <= ' ':
			l.skip(1)
		case bytes.HasPrefix(l.rest(), closeTag):
			l.add(tokenSign, ";")
			l.skip(len(closeTag))
			return nil
		case c == '#' || l.starts("//"):
			l.lineComment()
		case l.starts("/*"):
			if err := l.comment(); err != nil {
				return err
			}
		case c == '\'' || c == '"' || c == '`':
			if err := l.quoted(c); err != nil {
				return err
			}
		case l.starts("<<<") && l.heredoc():
		case c == '$' && l.at+1 < len(l.src) && isNameStart(l.src[l.at+1]):
			n := nameLength(l.rest()[1:])
			l.add(tokenVariable, string(l.rest()[1:1+n]))
			l.skip(1 + n)
		case isNameStart(c) || c == '\\':
			l.name()
		case c >= '0' && c <= '9':
			n := numberLength(l.rest())
			l.add(tokenNumber, string(l.rest()[:n]))
			l.skip(n)
		default:
			l.sign()
		}
		for i := first; i < len(l.tokens); i++ {
			l.tokens[i].from, l.tokens[i].to = start, l.at
		}
	}
	return nil
}

// maxAttribute bounds, in bytes, how far the end of an attribute is looked for: in a file
// of many beginnings that would take the square of its length.
const maxAttribute = 1 << 10

// lineComment ends with the line or with PHP. An attribute is passed over like one.
func (l *lexer) lineComment() {
	if l.starts("#[") {
		depth := 0
		for i, c := range l.rest()[:min(len(l.rest()), maxAttribute)] {
			switch c {
			case '[':
				depth++
			case ']':
				depth--
			}
			if depth == 0 && i > 0 {
				l.skip(i + 1)
				return
			}
		}
	}
	end := len(l.rest())
	if i := bytes.IndexByte(l.rest(), '\n'); i >= 0 {
		end = i
	}
	if i := bytes.Index(l.rest()[:end], closeTag); i >= 0 {
		end = i
	}
	l.skip(end)
}

func (l *lexer) comment() error {
	end := bytes.Index(l.rest()[2:], []byte("*/"))
	if end < 0 {
		return fmt.Errorf("a comment does not end")
	}
	l.skip(2 + end + 2)
	return nil
}

// quoted reads a text in quotes of any kind.
func (l *lexer) quoted(quote byte) error {
	end := 1
	for ; end < len(l.rest()) && l.rest()[end] != quote; end++ {
		if l.rest()[end] == '\\' {
			end++
		}
	}
	if end >= len(l.rest()) {
		return fmt.Errorf("a text in quotes does not end")
	}
	raw := l.rest()[1:end]
	switch {
	case quote == '\'':
		l.add(tokenText, strings.NewReplacer(`\\`, `\`, `\'`, `'`).Replace(string(raw)))
	case quote == '`':
		l.add(tokenUnknown, "the output of a command")
	case hasVariable(raw):
		l.add(tokenUnknown, "a text with variables in it")
	default:
		l.add(tokenText, unescape(raw))
	}
	l.skip(end + 1)
	return nil
}

// heredoc passes over a text that begins with <<<; false: it is none.
func (l *lexer) heredoc() bool {
	head := bytes.TrimLeft(l.rest()[3:], " \t")
	quote := ""
	if len(head) > 0 && (head[0] == '\'' || head[0] == '"') {
		quote, head = string(head[:1]), head[1:]
	}
	n := nameLength(head)
	if n == 0 || !bytes.HasPrefix(head[n:], []byte(quote)) {
		return false
	}
	label := head[:n]
	after := head[n+len(quote):]
	after = bytes.TrimPrefix(after, []byte("\r"))
	if len(after) == 0 || after[0] != '\n' {
		return false
	}
	l.add(tokenUnknown, "a heredoc (<<<"+string(label[:min(n, 40)])+"); write it in quotes")
	begin := len(l.rest()) - len(after)
	for at := begin; at < len(l.rest()); {
		line := l.rest()[at+1:]
		text := bytes.TrimLeft(line, " \t")
		if bytes.HasPrefix(text, label) && (len(text) == n || !isNameByte(text[n])) {
			l.skip(len(l.rest()) - len(text) + n)
			return true
		}
		next := bytes.IndexByte(line, '\n')
		if next < 0 {
			break
		}
		at += 1 + next
	}
	l.skip(len(l.rest()))
	return true
}

func (l *lexer) name() {
	n := 0
	for n < len(l.rest()) && (isNameByte(l.rest()[n]) || l.rest()[n] == '\\') {
		n++
	}
	text := string(l.rest()[:n])
	if strings.EqualFold(text, "__halt_compiler") {
		l.add(tokenSign, ";")
		l.skip(len(l.rest()))
		return
	}
	l.add(tokenName, strings.TrimPrefix(text, `\`))
	l.skip(n)
}

// signs are those of more than one character, longest first.
var signs = []string{
	"<=>", "===", "!==", "**=", "...", "<<=", ">>=", "??=", "?->",
	"==", "!=", "<>", "<=", ">=", "&&", "||", "??", "=>", "->", "::", ".=", "+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=", "++", "--", "**", "<<", ">>",
}

func (l *lexer) sign() {
	for _, s := range signs {
		if l.starts(s) {
			l.add(tokenSign, s)
			l.skip(len(s))
			return
		}
	}
	l.add(tokenSign, string(l.rest()[:1]))
	l.skip(1)
}

func isNameStart(c byte) bool {
	return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}

func isNameByte(c byte) bool { return isNameStart(c) || c >= '0' && c <= '9' }

func nameLength(b []byte) int {
	n := 0
	for n < len(b) && (isNameStart(b[n]) || n > 0 && isNameByte(b[n])) {
		n++
	}
	return n
}

// numberLength is roughly that of a number: a dot belongs to it only before a digit.
func numberLength(b []byte) int {
	n := 0
	for n < len(b) && (isNameByte(b[n]) || b[n] == '.' && n+1 < len(b) && b[n+1] >= '0' && b[n+1] <= '9') {
		n++
	}
	return n
}
