package php

import (
	"regexp"
	"strings"
)

// Known is what is known of a variable of the environment or of a request.
type Known struct {
	Text string
	Set  bool // false: it is known that there is none
}

// lookUp gives what getenv, $_ENV or $_SERVER hold under a name, as a variable; false:
// nobody said.
func (it *interpreter) lookUp(from, name string) (value, bool) {
	if _, changed := it.env.variables[from]; changed {
		return value{}, false
	}
	k, ok := it.config.Environment[name]
	if from == "_SERVER" {
		if server, is := it.config.Server[name]; is {
			k, ok = server, true
		}
	}
	switch {
	case !ok:
		return value{}, false
	case !k.Set:
		return value{kind: isNull}, true
	default:
		return textValue(k.Text), true
	}
}

// environment does the functions by which settings are taken out of the environment: PHP's
// own, that of Docker's image, and that of Bedrock. They are known by their names.
func (it *interpreter) environment(name string, args []value) (value, bool) {
	v, ok := it.lookUp("getenv()", args[0].asText())
	switch name {
	case "getenv":
		if ok && v.kind == isNull {
			v = boolValue(false)
		}
		return v, ok
	case "getenv_docker":
		return it.docker(args, v, ok)
	case "env", `env\env`:
		if ok && v.kind == isText {
			switch strings.ToLower(v.text) {
			case "true", "false":
				v = boolValue(strings.EqualFold(v.text, "true"))
			case "null":
				v = value{kind: isNull}
			}
		}
		return v, ok
	}
	return value{}, false
}

// docker takes a variable, the file that another one names, or what is given for the case
// that there is neither.
func (it *interpreter) docker(args []value, v value, ok bool) (value, bool) {
	file, fileKnown := it.lookUp("getenv()", args[0].asText()+"_FILE")
	switch {
	case fileKnown && file.kind == isText && file.text != "" && it.config.Load != nil && !it.env.dead:
		content, err := it.config.Load(file.text)
		if err != nil {
			return value{}, false
		}
		it.spend(len(content))
		return textValue(strings.TrimRight(string(content), "\r\n")), true
	case ok && v.kind == isText:
		return v, true
	case ok && len(args) > 1 && args[1].kind != isUnknown:
		return args[1], true
	}
	return value{}, false
}

// plainPattern is an expression that means the same here as in PHP.
var plainPattern = regexp.MustCompile(`^(?:[A-Za-z0-9_:@%=,; -]|\^|\.|\*|\+|\\[./\-@]|\[\^?(?:[A-Za-z0-9_.:/ -]|\\[.\-/])+\])+$`)

// maxReplaced is how long, in bytes, what is searched and what is put in may be.
const maxReplaced = 4 << 10

// replaced does preg_replace for simple expressions.
func (it *interpreter) replaced(args []value) (value, bool) {
	if len(args) != 3 || len(args[1].text) > maxReplaced || len(args[2].text) > maxReplaced || args[1].kind != isText || args[2].kind != isText || strings.ContainsAny(args[1].text, `\$`) {
		return value{}, false
	}
	pattern := args[0].text
	if len(pattern) < 3 || !strings.ContainsRune("/#~", rune(pattern[0])) {
		return value{}, false
	}
	end := strings.LastIndexByte(pattern, pattern[0])
	flags := pattern[end+1:]
	pattern = pattern[1:max(end, 1)]
	if flags != "" && flags != "i" || !plainPattern.MatchString(pattern) || len(pattern) > 200 {
		return value{}, false
	}
	it.spend(len(pattern) * len(args[2].text))
	if it.err != nil {
		return value{}, false
	}
	if flags == "i" {
		pattern = "(?i)" + pattern
	}
	re, err := regexp.Compile(pattern)
	if err != nil || strings.ContainsAny(args[2].text, "\n\r") {
		return value{}, false
	}
	text := re.ReplaceAllLiteralString(args[2].text, args[1].text)
	it.spend(len(text))
	return textValue(text), true
}

// Of gives settings that were found out otherwise. Values are texts, whole numbers as
// int64, bool, or nil.
func Of(constants, variables map[string]any) *Settings {
	all := func(from map[string]any) map[string]value {
		to := map[string]value{}
		for name, v := range from {
			switch v := v.(type) {
			case string:
				to[name] = textValue(v)
			case int64:
				to[name] = numberValue(v)
			case bool:
				to[name] = boolValue(v)
			case nil:
				to[name] = value{kind: isNull}
			default:
				to[name] = unknown("a value of another kind")
			}
		}
		return to
	}
	return &Settings{all(constants), all(variables)}
}
