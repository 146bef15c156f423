package phpdata_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"xvault/connectors/wordpress/phpdata"
)

const oldText, newText = "https://old.example", "https://a-much-longer.ü.example/blog"

// swap changes the one text into the other.
func swap(text []byte) ([]byte, int) {
	n := bytes.Count(text, []byte(oldText))
	if n == 0 {
		return text, 0
	}
	return bytes.ReplaceAll(text, []byte(oldText), []byte(newText)), n
}

func TestRewrite(t *testing.T) {
	t.Parallel()
	const o, n = oldText, newText // 19 and 33+ bytes
	long := "37"
	if len(o) != 19 || len(n) != 37 {
		t.Fatalf("lengths %d, %d", len(o), len(n))
	}
	for what, c := range map[string]struct {
		in, out       string
		changed, left int
	}{
		"nothing":             {"a:1:{i:0;s:1:\"x\";}", "", 0, 0},
		"plain":               {"see " + o + "/", "see " + n + "/", 1, 0},
		"text":                {`s:19:"` + o + `";`, `s:` + long + `:"` + n + `";`, 1, 0},
		"space around":        {" \n" + `s:19:"` + o + `";` + "\n", " \n" + `s:37:"` + n + `";` + "\n", 1, 0},
		"array":               {`a:2:{i:0;s:19:"` + o + `";s:1:"k";b:1;}`, `a:2:{i:0;s:37:"` + n + `";s:1:"k";b:1;}`, 1, 0},
		"key":                 {`a:1:{s:19:"` + o + `";N;}`, `a:1:{s:37:"` + n + `";N;}`, 1, 0},
		"key that is there":   {`a:2:{s:19:"` + o + `";N;s:37:"` + n + `";s:19:"` + o + `";}`, `a:2:{s:19:"` + o + `";N;s:37:"` + n + `";s:37:"` + n + `";}`, 1, 1},
		"property":            {`O:1:"A":1:{s:19:"` + o + `";s:19:"` + o + `";}`, `O:1:"A":1:{s:19:"` + o + `";s:37:"` + n + `";}`, 1, 1},
		"inside":              {`s:27:"s:19:"` + o + `";";`, `s:45:"s:37:"` + n + `";";`, 1, 0},
		"escapes":             {`S:19:"\68ttps://old.example";`, `S:19:"\68ttps://old.example";`, 0, 0},
		"escapes beside":      {`a:2:{i:0;S:19:"\68ttps://old.example";i:1;s:19:"` + o + `";}`, `a:2:{i:0;s:37:"` + n + `";i:1;s:37:"` + n + `";}`, 2, 0},
		"own format":          {`C:1:"A":27:{s:19:"` + o + `";}`, `C:1:"A":45:{s:37:"` + n + `";}`, 1, 0},
		"own format, others":  {`C:1:"A":34:{x:i:0;;s:19:"` + o + `";}`, `C:1:"A":52:{x:i:0;;s:37:"` + n + `";}`, 1, 0},
		"own format, in text": {`C:1:"A":19:{` + o + `}`, "", 0, 1},
		"own in own":          {`C:1:"A":48:{x:i:1;C:1:"B":27:{s:19:"` + o + `";};m}`, `C:1:"A":66:{x:i:1;C:1:"B":45:{s:37:"` + n + `";};m}`, 1, 0},
		"enum":                {`a:2:{i:0;E:3:"A:B";i:1;s:19:"` + o + `";}`, `a:2:{i:0;E:3:"A:B";i:1;s:37:"` + n + `";}`, 1, 0},
		"wrong length":        {`a:1:{i:0;s:18:"` + o + `";}`, "", 0, 1},
		"cut":                 {`a:2:{i:0;s:19:"` + o + `";`, "", 0, 1},
		"wrong inside":        {`a:2:{i:0;s:27:"s:18:"` + o + `";";i:1;s:19:"` + o + `";}`, `a:2:{i:0;s:27:"s:18:"` + o + `";";i:1;s:37:"` + n + `";}`, 1, 1},
		"more than it":        {`s:19:"` + o + `";s:1:"x";`, "", 0, 1},
		"in JSON":             {`{"a":"s:19:\"` + o + `\";"}`, "", 0, 1},
		"JSON beside":         {`{"a":"s:1:\"x\";","b":"` + o + `"}`, `{"a":"s:1:\"x\";","b":"` + n + `"}`, 1, 0},
	} {
		r := phpdata.Rewrite([]byte(c.in), swap)
		if c.out == "" {
			c.out = c.in
		}
		if string(r.Value) != c.out || r.Changed != c.changed || r.Left != c.left {
			t.Errorf("%s: %s\n  becomes %s (%d changed, %d left)\n  want    %s (%d, %d)", what, c.in, r.Value, r.Changed, r.Left, c.out, c.changed, c.left)
		}
	}
}

// Nesting without end is left alone, and takes no more than its time.
func TestDeep(t *testing.T) {
	t.Parallel()
	for _, depth := range []int{1000, 100_000} {
		value := strings.Repeat(`a:1:{s:19:"`+oldText+`";`, depth) + "N;" + strings.Repeat("}", depth)
		r := phpdata.Rewrite([]byte(value), swap)
		if whole := depth <= 4000; (r.Changed == depth) != whole || (r.Left == depth) == whole {
			t.Errorf("%d deep: %d changed, %d left", depth, r.Changed, r.Left)
		}
	}
	value := []byte(oldText)
	for range 40 {
		value = append(append([]byte("s:"+strconv.Itoa(len(value))+`:"`), value...), `";`...)
	}
	if r := phpdata.Rewrite(value, swap); r.Changed != 0 || r.Left != 1 {
		t.Errorf("texts in texts: %d changed, %d left", r.Changed, r.Left)
	}
}

// Lengths that overlap do not have the same bytes looked at again and again; what could
// not be looked at is left.
func TestOverlappingLengths(t *testing.T) {
	t.Parallel()
	for _, size := range []int{64 << 10, 256 << 10} {
		seen := 0
		counting := func(text []byte) ([]byte, int) { seen += len(text); return swap(text) }
		each := "s:00" + strconv.Itoa(size/2) + `:"`
		// Every length ends in front of a quote.
		value := oldText + " " + strings.Repeat(each, size/len(each)/2)
		value += strings.Repeat(`"`, size-len(value))
		r := phpdata.Rewrite([]byte(value), counting)
		if r.Changed != 0 || r.Left != 1 || seen > 8*size+128<<10 {
			t.Errorf("%d bytes of text: %d changed, %d left, %d bytes looked at", size, r.Changed, r.Left, seen)
		}
		each = strings.ToUpper(each)
		own := `s:19:"` + oldText + `";` + strings.Repeat(each, size/len(each)/2)
		own += strings.Repeat(".", size-len(own))
		r = phpdata.Rewrite([]byte(`C:1:"A":`+strconv.Itoa(len(own))+":{"+own+"}"), counting)
		if r.Changed != 0 || r.Left != 1 {
			t.Errorf("%d bytes of an own format: %d changed, %d left", size, r.Changed, r.Left)
		}
	}
}

// generate is a program that makes values of all kinds, each twice: with the one text in
// it, and with the other. It prints both as PHP serializes them.
const generate = `
error_reporting(E_ALL & ~E_DEPRECATED);
enum Suit: string { case Hearts = 'h'; }
class Plain { public $a; protected $b; private $c; public $self = null;
  function __construct($a, $b, $c) { $this->a = $a; $this->b = $b; $this->c = $c; } }
class Own implements Serializable { public $v;
  function __construct($v) { $this->v = $v; }
  function serialize() { return serialize($this->v); } function unserialize($s) { $this->v = unserialize($s); } }
class Tagged implements Serializable { public $v;
  function __construct($v) { $this->v = $v; }
  function serialize() { return 'x:i:0;' . serialize($this->v) . ';m:a:0:{}'; } function unserialize($s) { $this->v = unserialize(substr($s, 6, -10)); } }
class Magic { public $v;
  function __construct($v) { $this->v = $v; }
  function __serialize(): array { return ['k' => $this->v, 7 => 'seven']; } function __unserialize(array $d): void { $this->v = $d['k']; } }
function text($url) {
  $parts = ['', $url, $url . '/' . mt_rand(), 'é🐈', "\0\x80\xff", '";s:3:"', 'a:1:{', "it's", "\n", 'no address', '{"u":"' . $url . '"}'];
  $t = ''; for ($i = mt_rand(0, 4); $i >= 0; $i--) $t .= $parts[mt_rand(0, count($parts) - 1)];
  return preg_match('/^([aOCEsS]):\d+:/', trim($t)) ? 'x' . $t : $t;
}
function make($url, $depth) {
  switch (mt_rand(0, $depth <= 0 ? 6 : 16)) {
    case 0: return null; case 1: return mt_rand(0, 1) == 1; case 2: return mt_rand(-9, 9); case 3: return mt_rand() / 7; case 4: return [INF, -INF, 1e300, -0.0][mt_rand(0, 3)];
    case 5: return text($url); case 6: return Suit::Hearts;
    case 7: case 8: case 9: $a = []; for ($i = mt_rand(0, 4); $i >= 0; $i--) { if (mt_rand(0, 1)) $a[] = make($url, $depth - 1); else $a[text($url) . mt_rand()] = make($url, $depth - 1); } return $a;
    case 10: $o = new Plain(make($url, $depth - 1), make($url, $depth - 1), text($url)); $o->self = mt_rand(0, 1) ? $o : null; return $o;
    case 11: $o = new stdClass; $o->{'k' . mt_rand()} = make($url, $depth - 1); $o->{'u' . $url} = 1; return $o;
    case 12: return new Own(make($url, $depth - 1)); case 13: return new Magic(make($url, $depth - 1));
    case 14: $a = [text($url), make($url, $depth - 1)]; $a[2] = &$a[0]; $a['again'] = &$a[1]; return $a;
    case 15: return serialize(make($url, $depth - 1)); case 16: return new Tagged(make($url, $depth - 1));
  }
}
[, $count, $seed, $old, $new] = $argv;
for ($i = 0; $i < $count; $i++) {
  mt_srand($seed + $i); $a = serialize(make($old, 6)); mt_srand($seed + $i); $b = serialize(make($new, 6));
  if ((@unserialize($a) === false) !== (@unserialize($b) === false)) { fwrite(STDERR, "not whole: $b"); exit(1); }
  echo base64_encode($a), ' ', base64_encode($b), "\n";
}
`

// What comes out is, to the byte, what PHP itself makes of the same value with the other
// text in it.
func TestLikePHP(t *testing.T) {
	t.Parallel()
	const count, seed = "1500", "20261126"
	out, err := exec.CommandContext(t.Context(), "php", "-d", "display_errors=stderr", "-r", generate, "--", count, seed, oldText, newText).Output()
	if err != nil {
		e, _ := errors.AsType[*exec.ExitError](err)
		t.Fatalf("php: %v: %.2000s", err, e.Stderr)
	}
	cases, changed, failed := 0, 0, 0
	for line := range strings.Lines(string(out)) {
		in, want, _ := strings.Cut(strings.TrimSpace(line), " ")
		a, err := base64.StdEncoding.DecodeString(in)
		if err != nil {
			t.Fatal(err)
		}
		b, err := base64.StdEncoding.DecodeString(want)
		if err != nil {
			t.Fatal(err)
		}
		cases++
		r := phpdata.Rewrite(a, swap)
		changed += r.Changed
		if !bytes.Equal(r.Value, b) && failed < 5 {
			failed++
			t.Errorf("seed %s, case %d: %q\nbecomes %q\nwant    %q (%d changed, %d left)", seed, cases, a, r.Value, b, r.Changed, r.Left)
		}
	}
	if cases != 1500 || changed < 1000 {
		t.Errorf("%d cases with %d changes: too few to prove anything", cases, changed)
	}
	t.Logf("%d values, %d changes", cases, changed)
}

// Whatever comes in, nothing breaks, and what is not changed comes out as it was.
func FuzzRewrite(f *testing.F) {
	for _, seed := range []string{
		"", "a:1:{", oldText, `s:19:"` + oldText + `";`, `a:1:{i:0;s:19:"` + oldText + `";}`, `C:1:"A":27:{s:19:"` + oldText + `";}`,
		`O:8:"stdClass":1:{s:1:"a";R:1;}`, `S:19:"\68ttps://old.example";`, `E:3:"A:B";`, `s:999999999999999999:"`, `a:-1:{}`, `{"a":"s:19:\"` + oldText + `\";"}`,
	} {
		f.Add([]byte(seed))
	}
	none := func(text []byte) ([]byte, int) { return text, 0 }
	f.Fuzz(func(t *testing.T, value []byte) {
		was := bytes.Clone(value)
		if r := phpdata.Rewrite(value, none); r.Changed != 0 || r.Left != 0 || !bytes.Equal(r.Value, was) {
			t.Fatalf("%q becomes %q though nothing is to be changed", was, r.Value)
		}
		r := phpdata.Rewrite(value, swap)
		if !bytes.Equal(value, was) {
			t.Fatalf("%q was written to", was)
		}
		if r.Changed == 0 && !bytes.Equal(r.Value, was) {
			t.Fatalf("%q becomes %q without a change", was, r.Value)
		}
		back := phpdata.Rewrite(r.Value, func(text []byte) ([]byte, int) {
			n := bytes.Count(text, []byte(newText))
			return bytes.ReplaceAll(text, []byte(newText), []byte(oldText)), n
		})
		if r.Changed > 0 && r.Left == 0 && !bytes.Contains(was, []byte(newText)) && !bytes.Contains(was, []byte("S:")) && back.Left > 0 {
			t.Fatalf("%q becomes %q, which is not whole", was, r.Value)
		}
	})
}
