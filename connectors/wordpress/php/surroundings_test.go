package php

import (
	"errors"
	"strings"
	"testing"
)

// What is told of the environment and the request is taken, and nothing else is guessed.
func TestSurroundings(t *testing.T) {
	t.Parallel()
	config := Config{
		Path:        "/srv/site/wp-config.php",
		Environment: map[string]Known{"NAME": {Text: "from outside", Set: true}, "EMPTY": {Set: true}, "NONE": {}, "YES": {Text: "TRUE", Set: true}, "S_FILE": {Text: "/run/s", Set: true}},
		Server:      map[string]Known{"HTTP_HOST": {Text: "www.Blog.example:8080", Set: true}, "HTTPS": {}},
		Load: func(path string) ([]byte, error) {
			if path == "/run/s" {
				return []byte("from a file\n"), nil
			}
			return nil, errors.New("not there")
		},
	}
	for code, want := range map[string]string{
		`define('X', getenv('NAME'));`:                                                                                 "from outside",
		`define('X', getenv('NONE') ?: 'other');`:                                                                      "other",
		`define('X', getenv('EMPTY') ?: 'other');`:                                                                     "other",
		`define('X', $_ENV['NAME'] ?? 'other');`:                                                                       "from outside",
		`define('X', $_ENV['NONE'] ?? 'other');`:                                                                       "other",
		`define('X', $_SERVER['NAME']);`:                                                                               "from outside",
		`define('X', getenv_docker('NAME', 'other'));`:                                                                 "from outside",
		`define('X', getenv_docker('NONE', 'other'));`:                                                                 "other",
		`define('X', getenv_docker('S', 'other'));`:                                                                    "from a file",
		`use function Env\env; define('X', env('NAME') ?: 'other');`:                                                   "from outside",
		`define('X', env('YES') === true ? 'yes' : 'no');`:                                                             "yes",
		`if (isset($_SERVER['NONE'])) define('X', 'a'); else define('X', 'b');`:                                        "b",
		`if (isset($_SERVER['HTTPS']) && $_SERVER['HTTPS'] == 'on') define('X', 'a'); else define('X', 'b');`:          "b",
		`define('X', strtolower(preg_replace('/:.*/', '', $_SERVER['HTTP_HOST'])));`:                                   "www.blog.example",
		`define('X', preg_replace("/^[^.]*\\./", "", preg_replace("/[^a-zA-Z0-9.\\-]/", "", $_SERVER['HTTP_HOST'])));`: "Blog.example8080",
	} {
		s, err := Read([]byte("<?php\n"+code), config)
		if err != nil {
			t.Errorf("%s: %v", code, err)
			continue
		}
		if got, ok, err := s.Constant("X"); got != want || !ok || err != nil {
			t.Errorf("%s: %q, %v, %v; not %q", code, got, ok, err, want)
		}
	}
	for code, why := range map[string]string{
		`define('X', getenv('OTHER') ?: 'a');`:                                   "getenv('OTHER')",
		`define('X', getenv_docker('OTHER', 'a'));`:                              "getenv_docker('OTHER')",
		`define('X', $_SERVER['HTTP_X']);`:                                       "$_SERVER['HTTP_X']",
		`putenv('NAME=changed'); define('X', getenv('NAME'));`:                   "getenv('NAME')",
		`$_SERVER['HTTP_HOST'] = f(); define('X', $_SERVER['HTTP_HOST']);`:       "$_SERVER['HTTP_HOST']",
		`define('X', preg_replace('/(a)\\1/', '', $_SERVER['HTTP_HOST']));`:      "preg_replace('/(a)",
		`define('X', preg_replace('/a/', '$0', $_SERVER['HTTP_HOST']));`:         "preg_replace('/a/')",
		`if (isset($_SERVER['OTHER'])) define('X', 'a'); else define('X', 'b');`: "$_SERVER['OTHER']",
	} {
		s, err := Read([]byte("<?php\n"+code), config)
		if err != nil {
			t.Errorf("%s: %v", code, err)
			continue
		}
		if got, ok, err := s.Constant("X"); !ok || err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %q, %v, %v; want unknown for %s", code, got, ok, err, why)
		}
	}
}

// A value is put in place of the one that stands there, whatever that is, and nothing else
// changes.
func TestApply(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]string{
		`define( 'X', 'a' ); // 'a'`:                    `define( 'X', 'it\'s \\' ); // 'a'`,
		`define("X", getenv("A") ?: f(1, [2]), false);`: `define("X", 'it\'s \\', false);`,
		`const Y = 1, X = 'a' . "b" /* c */;`:           `const Y = 1, X = 'it\'s \\' /* c */;`,
		`if (!defined('X')) { define('X', "a\"b"); }`:   `if (!defined('X')) { define('X', 'it\'s \\'); }`,
		`define('X', <<<'END'` + "\na\nEND\n);":         `define('X', 'it\'s \\'` + "\n);",
	} {
		src := "<?php // é\n" + code
		s, err := Read([]byte(src), Config{Path: "/a.php"})
		if err != nil {
			t.Errorf("%s: %v", code, err)
			continue
		}
		place, ok := s.Place("X")
		out, err := Apply([]byte(src), []Edit{{place, `it's \`}})
		if !ok || err != nil || strings.TrimSuffix(string(out), "\n);") != "<?php // é\n"+strings.TrimSuffix(want, "\n);") {
			t.Errorf("%s: %v, %v: %s", code, ok, err, out)
			continue
		}
		if s, err = Read(out, Config{Path: "/a.php"}); err != nil {
			t.Errorf("%s: %v", out, err)
		} else if got, _, err := s.Constant("X"); got != `it's \` || err != nil {
			t.Errorf("%s: read again: %q, %v", out, got, err)
		}
	}
	if _, err := Apply([]byte("abc"), []Edit{{Place{"", 0, 2}, "x"}, {Place{"", 1, 3}, "y"}}); err == nil {
		t.Error("two edits of one place")
	}
}
