package system

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"strconv"
	"strings"
)

// notation is a way to write a text down.
type notation struct {
	name  string
	write func(string) string
}

// quotings are the notations of logs, answers and dumps, which also come within each
// other: an answer with a quoted name that is logged, JSON in a table that is dumped.
func quotings() []notation {
	return []notation{
		{"as JSON", func(s string) string { return asJSON(s, false) }},
		{"as slog's JSON", func(s string) string { return slogsWay().Replace(asJSON(s, false)) }},
		{"as JSON for HTML", func(s string) string { return asJSON(s, true) }},
		{"in Go's quotes", func(s string) string { return unquoted(strconv.Quote(s)) }},
		{"in a dump of a table", strings.NewReplacer(`\`, `\\`, "\n", `\n`, "\r", `\r`, "\t", `\t`, "\b", `\b`, "\f", `\f`, "\v", `\v`).Replace},
	}
}

// encodings are the notations of headers, addresses and stored bytes.
func encodings() []notation {
	return []notation{
		{"as hex", func(s string) string { return hex.EncodeToString([]byte(s)) }},
		{"as base64", func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }},
		{"as URL base64", func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }},
		{"as a query", url.QueryEscape},
		{"as part of a path", url.PathEscape},
		{"as a password in an address", func(s string) string { return strings.TrimPrefix(url.UserPassword("", s).String(), ":") }},
	}
}

// written gives all that a text may stand as, and how that is called.
func written(s string) map[string]string {
	forms := map[string]string{s: ""}
	add := func(form, name string) {
		if _, ok := forms[form]; !ok {
			forms[form] = " " + name
		}
	}
	for _, n := range append(quotings(), encodings()...) {
		add(n.write(s), n.name)
	}
	for _, inner := range quotings() {
		for _, outer := range quotings() {
			add(outer.write(inner.write(s)), inner.name+", and that "+outer.name)
		}
	}
	return forms
}

func asJSON(s string, html bool) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(html)
	if err := e.Encode(s); err != nil {
		panic(err) // text can always be encoded
	}
	return unquoted(strings.TrimSuffix(b.String(), "\n"))
}

// slogsWay makes of JSON what slog makes: it has no short form of these.
func slogsWay() *strings.Replacer {
	return strings.NewReplacer(`\\`, `\\`, `\b`, `\u0008`, `\f`, `\u000c`)
}

func unquoted(s string) string { return s[1 : len(s)-1] }
