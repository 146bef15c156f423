package php

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
)

// read gives a constant of a file that is the code after <?php.
func read(t *testing.T, code, name string) (string, bool, error) {
	t.Helper()
	s, err := Read([]byte("<?php\n"+code), Config{
		Path: "/srv/site/wp-config.php", Constants: map[string]string{"ABSPATH": "/srv/site/"}, Last: "wp-settings.php",
		Exists: func(path string) (Presence, error) {
			return map[string]Presence{"/srv/site/local.php": File, "/srv/site/folder": Other, "/srv/closed/x.php": Hidden}[path], nil
		},
		Load: func(path string) ([]byte, error) {
			if path == "/srv/site/closed.php" {
				return nil, errors.New("no permission")
			}
			if path == "/srv/site/local.php" {
				return []byte("<?php define('LOCAL', 'yes'); $inner = __DIR__; return;"), nil
			}
			if path == "/srv/site/cut.php" {
				return []byte("<?php if (PHP_SAPI !== 'cli') return; define('X', 'dev');"), nil
			}
			return nil, fs.ErrNotExist
		},
	})
	if err != nil {
		return "", false, err
	}
	if variable, ok := strings.CutPrefix(name, "$"); ok {
		return s.Variable(variable)
	}
	return s.Constant(name)
}

func TestKnownSettings(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]string{
		`define('X', 'plain');`:                                                                          "plain",
		`define( "X" , 'it\'s \\ \n' );`:                                                                 `it's \ \n`,
		`define('X', "a\tb\x41\101\u{1F408}\q\$x\"");`:                                                   "a\tbAA🐈\\q$x\"",
		`define('X', "costs $5 and $ 6 {a}");`:                                                           "costs $5 and $ 6 {a}",
		`const X = 'by const', Y = 1;`:                                                                   "by const",
		`DEFINE('X', 'upper');`:                                                                          "upper",
		`\define('X', 'namespaced');`:                                                                    "namespaced",
		`define('X', 'a' . "b" . 3);`:                                                                    "ab3",
		`define('Y', 'y'); define('X', Y . '-x');`:                                                       "y-x",
		`define('X', __DIR__ . '/c');`:                                                                   "/srv/site/c",
		`define('X', dirname(__FILE__) . '/c');`:                                                         "/srv/site/c",
		`define('X', dirname(__DIR__, 2));`:                                                              "/",
		`define('X', ABSPATH . 'c');`:                                                                    "/srv/site/c",
		`$y = 'v'; define('X', $y);`:                                                                     "v",
		`$y = 'v'; $y .= 'w'; define('X', $y);`:                                                          "vw",
		`define('X', 'first'); define('X', 'second');`:                                                   "first",
		`if (!defined('X')) define('X', 'guarded');`:                                                     "guarded",
		`if ( ! defined( 'X' ) ) { define('X', 'in'); }`:                                                 "in",
		`defined('X') or define('X', 'or');`:                                                             "or",
		`defined('X') || define('X', 'either');`:                                                         "either",
		`define('X', 'a'); defined('X') || define('X', 'b');`:                                            "a",
		`if (defined('WP_CLI') && WP_CLI) { define('X', 'cli'); } else { define('X', 'web'); }`:          "web",
		`if (true): define('X', 'colon'); else: define('X', 'other'); endif;`:                            "colon",
		`if (false) {} elseif (true) { define('X', 'elseif'); } else { define('X', 'no'); }`:             "elseif",
		`if (false) {} else if (true) define('X', 'else if'); else define('X', 'no');`:                   "else if",
		"// define('X', 'no');\n# define('X', 'no');\n/* define('X', 'no'); */ define('X', 'yes');":      "yes",
		"// a comment ends with PHP ?> <?php define('X', 'yes');":                                        "yes",
		"define('X', /* inside */ 'yes' // more\n);":                                                     "yes",
		`define('X', true ? 'a' : 'b');`:                                                                 "a",
		`define('X', null ?? 'd');`:                                                                      "d",
		`define('X', (string) 'cast');`:                                                                  "cast",
		`define('X', trim(' t '));`:                                                                      "t",
		`function f() { $x = 1; return $x; } define('X', 'after');`:                                      "after",
		`class A extends B { const X = 'no'; function f() { return "}"; } } define('X', 'after');`:       "after",
		`if (isset($_SERVER['HTTPS'])) { $_SERVER['HTTPS'] = 'on'; } define('X', 'after');`:              "after",
		`foreach ([1, 2] as $i) { echo $i; } define('X', 'after');`:                                      "after",
		`$f = function ($a) use ($b) { return $a; }; $g = fn($a) => $a . 'b'; define('X', 'after');`:     "after",
		`ini_set('display_errors', 0); @ini_set('x', "y{$z}"); define('X', 'after');`:                    "after",
		`use A\B; namespace\f(); $o = new A\B(1, [2]); $o->set('a')->b = 3; define('X', 'after');`:       "after",
		`$table = ['a' => 1, 'b' => [2]]; $table['c'][] = 3; list($p, $q) = f(); define('X', 'after');`:  "after",
		"$t = <<<EOT\ndefine('X', 'no');\nEOT;\ndefine('X', 'after');":                                   "after",
		`define('X', 'before'); require_once ABSPATH . 'wp-settings.php'; define('X', 'late');`:          "before",
		`if (!defined('ABSPATH')) exit; define('X', 'after');`:                                           "after",
		`switch ($_SERVER['a']) { case 'b': $c = 1; break; default: $c = 2; } define('X', 'after');`:     "after",
		`try { f(); } catch (E $e) { g(); } finally { h(); } define('X', 'after');`:                      "after",
		`$x = match(true) { default => 1 }; define('X', 'after');`:                                       "after",
		`if (file_exists(__DIR__ . '/local.php')) { define('X', 'local'); } else { define('X', 'no'); }`: "local",
		`include 'local.php'; define('X', LOCAL);`:                                                       "yes",
		`@include __DIR__ . '/none.php'; define('X', 'after');`:                                          "after",
		`define('X', file_exists('/srv/site/folder') && !is_file('/srv/site/folder') ? 'a' : 'b');`:      "a",
		`if ($_SERVER['a']) { define('X', 'same'); } else { define('X', 'same'); }`:                      "same",
		`#[Attribute] function g() {} define('X', 'after');`:                                             "after",
		`$GLOBALS['y'] = 'global'; define('X', $y);`:                                                     "global",
		`define('X', 3306);`:  "3306",
		`define('X', false);`: "",
	} {
		got, ok, err := read(t, code, "X")
		if err != nil || !ok || got != want {
			t.Errorf("%s\n\tgives %q, %v, %v, want %q", code, got, ok, err, want)
		}
	}
}

func TestUnknownSettings(t *testing.T) {
	t.Parallel()
	for code, tells := range map[string]string{
		`define('X', getenv('DB_X'));`:                                                          "getenv('DB_X')",
		`define('X', getenv('DB_X') ?: 'default');`:                                             "getenv('DB_X')",
		`define('X', $_ENV['DB_X']);`:                                                           "$_ENV['DB_X']",
		`define('X', $_ENV['DB_X'] ?? 'default');`:                                              "$_ENV['DB_X']",
		`define('X', getenv_docker('DB_X', 'default'));`:                                        "getenv_docker('DB_X')",
		`define('X', "host-$name");`:                                                            "variables in it",
		`define('X', "host-{$name}");`:                                                          "variables in it",
		"define('X', <<<EOT\nvalue\nEOT);":                                                      "heredoc",
		"define('X', <<<'EOT'\nvalue\nEOT\n);":                                                  "heredoc",
		"define('X', `hostname`);":                                                              "command",
		`if ($_SERVER['HTTP_HOST'] == 'a') define('X', 'a'); else define('X', 'b');`:            "line 2",
		`if ($_SERVER['HTTP_HOST'] == 'a') { define('X', 'a'); } define('X', 'b');`:             "condition",
		`switch ($_SERVER['a']) { case 1: define('X', 'a'); break; case 2: define('X', 'b'); }`: "switch",
		`$d = 'main'; switch ($_SERVER['a']) { case 1: $d = 'shop'; break; default: $d = 'main'; } define('X', $d);`:                   "switch",
		`$d = 'main'; switch ($_SERVER['a']) { case 1: $d = 'a'; exit; case 2: $d = 'b'; } define('X', $d);`:                           "switch",
		`$d = 'a'; while (f()) { $d = 'b'; $d = 'a'; } define('X', $d);`:                                                               "loop",
		`function f() { if (g()) { define('X', 'a'); return; } h(); }`:                                                                 "function",
		`include 'cut.php'; defined('X') or define('X', 'prod');`:                                                                      "condition",
		`if ($_SERVER['a']) { define('X', 'shop'); require 'wp-settings.php'; return; } define('X', 'blog');`:                          "condition",
		`if ($_SERVER['a']) { define('X', 'shop'); require 'wp-settings.php'; exit; } define('X', 'blog'); require 'wp-settings.php';`: "condition",
		`define('X', base64_decode('c2VjcmV0'));`:                                                                                      "base64_decode()",
		`define('X', 12345678901234567890);`:                                                                                           "a number",
		`foreach ($list as $l) { define('X', $l); }`:                                                                                   "loop",
		`function f() { define('X', 'a'); } f();`:                                                                                      "function",
		`class A { function f() { define('X', 'a'); } }`:                                                                               "not understood",
		`define('X', $_SERVER['a'] ? 'b' : 'c');`:                                                                                      "condition",
		`define('X', SOMEBODY);`:                                     "SOMEBODY",
		`define('X', file_exists('/srv/closed/x.php') ? 'a' : 'b');`: "condition",
		`define('X', 1 + 2);`:                                        "operator",
		`$x = match(true) { default => define('X', 'a') };`:          "not understood",
		`) define('X', 'a');`:                                        "not understood",
		`$r = $_GET['a'] && define('X', 'a');`:                       "condition",
	} {
		got, ok, err := read(t, code, "X")
		var u *UnknownError
		if !ok || !errors.As(err, &u) || !strings.Contains(err.Error(), tells) {
			t.Errorf("%s\n\tgives %q, %v, %v; want it unknown, for %q", code, got, ok, err, tells)
		}
	}
}

func TestAbsentSettings(t *testing.T) {
	t.Parallel()
	for _, code := range []string{
		``, `// define('X', 'a');`, `if (false) { define('X', 'a'); }`, `exit; define('X', 'a');`, `$x = "define('X', 'a');";`,
		`?> define('X', 'a'); <?php`, `__halt_compiler(); define('X', 'a');`, `require ABSPATH . 'wp-settings.php'; define('X', 'a');`,
		`define('x', 'a');`, `if (defined('NOT')) define('X', 'a');`,
	} {
		if got, ok, err := read(t, code, "X"); ok || err != nil {
			t.Errorf("%s gives %q, %v, %v", code, got, ok, err)
		}
	}
}

func TestVariables(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]string{
		`$table_prefix = 'wp_';`:                                       "wp_",
		`$table_prefix  = "a" . 'b';`:                                  "ab",
		`if (!isset($table_prefix)) { $table_prefix = 'guarded_'; }`:   "guarded_",
		`$table_prefix = 'a_'; function f() { $table_prefix = 'b_'; }`: "a_",
		`$table_prefix = 'a_'; if (false) $table_prefix = 'b_';`:       "a_",
	} {
		if got, ok, err := read(t, code, "$table_prefix"); got != want || !ok || err != nil {
			t.Errorf("%s gives %q, %v, %v, want %q", code, got, ok, err, want)
		}
	}
	for _, code := range []string{`$table_prefix = getenv('P');`, `$table_prefix = 'a_'; if ($_GET['b']) $table_prefix = 'b_';`, `$table_prefix++;`} {
		if got, ok, err := read(t, code, "$table_prefix"); !ok || err == nil || !strings.Contains(err.Error(), "$table_prefix") {
			t.Errorf("%s gives %q, %v, %v", code, got, ok, err)
		}
	}
}

func TestWhatIsRefused(t *testing.T) {
	t.Parallel()
	for what, code := range map[string]string{
		"a text without an end":    `define('X', 'a`,
		"a comment without an end": `/* define('X', 'a');`,
		"nesting":                  strings.Repeat("(", 100_000),
		"nested conditions":        strings.Repeat("if ($_GET['a']) {", 10_000),
		"many conditions":          strings.Repeat("if ($_GET['a']) { $b = 1; }", 10_000),
		"a missing include":        `require 'none.php';`,
		"an include without right": `@include 'closed.php'; define('X', 'a');`,
	} {
		if got, ok, err := read(t, code, "X"); err == nil {
			t.Errorf("%s gives %q, %v", what, got, ok)
		}
	}
	if _, err := Read(make([]byte, MaxFile+1), Config{}); err == nil {
		t.Error("a file that is too long was read")
	}
	loop := Config{Path: "/a.php", Load: func(string) ([]byte, error) { return []byte("<?php include '/a.php';"), nil }}
	if _, err := Read([]byte("<?php include '/a.php';"), loop); err == nil {
		t.Error("a file that includes itself was read")
	}
}

func FuzzRead(f *testing.F) {
	for _, seed := range []string{
		"<?php define('DB_NAME', 'a'); $table_prefix = \"b_\"; if (!defined('X')) { const Y = 1; } else: endif; require 'x.php';",
		"<?php switch (1) { case 2: break; default: } foreach ($a as $b): endforeach; class A { function b() {} } fn() => 1; <<<A\nA;",
		"<?= $a['b']->c::d(e: 1) ?? match(1) {} ?: `x` ?> <?php try {} catch (E $e) {} finally {} new class { }; #[A] list($a) = [1 => 2];",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		s, err := Read(src, Config{Path: "/a/b.php", Load: func(string) ([]byte, error) { return src, nil }, Last: "wp-settings.php"})
		if err != nil {
			return
		}
		for name := range s.constants {
			_, _, _ = s.Constant(name)
		}
	})
}

// A few lines that ask for terabytes, or for hours, are refused at once.
func TestGreedySettings(t *testing.T) {
	t.Parallel()
	half := "<?php $b = 'A'; " + strings.Repeat("$b .= $b; ", 19) // half a mebibyte
	for what, c := range map[string]struct {
		src     string
		refused bool // or else unknown
	}{
		"doubled":   {half + strings.Repeat("$c = $b . 'c'; ", 100), true},
		"lowered":   {half + strings.Repeat("$c = strtolower($b); ", 100), true},
		"searched":  {"<?php $b = '" + strings.Repeat("a", maxReplaced) + "'; " + strings.Repeat("$x = preg_replace('/[^x]+[^x]+[^x]+[^x]+[^x]+[^x]+[^x]+[^x]+y/', '', $b); ", 10_000), true},
		"replaced":  {half + "define('X', preg_replace('/A/', $b, $b));", false},
		"attribute": {"<?php define('X', $_GET['x']); " + strings.Repeat("#[\n", MaxFile/4), false},
	} {
		s, err := Read([]byte(c.src), Config{})
		if c.refused != errors.Is(err, errTooMuch) || !c.refused && err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if c.refused {
			continue
		}
		if text, _, err := s.Constant("X"); err == nil {
			t.Errorf("%s: %d bytes", what, len(text))
		}
	}
}
