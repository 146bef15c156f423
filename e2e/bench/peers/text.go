package main

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// text is an endless stream of what fills servers and compresses well: logs of
// a web server, of a program in JSON, source code, and prose, in sections. Words
// are as unequally frequent as in a language; numbers, times and ids are new in
// every line. zstd at level 3 makes about a quarter of it.
type text struct {
	rng    *rand.Rand
	words  []string // each as often as it is used
	paths  []string
	agents []string
	at     time.Time
	buf    []byte
	read   int
}

const (
	vocabulary = 6000
	draws      = 1 << 16 // words to draw from
	pathCount  = 700
	agentCount = 40
)

func newText(seed uint64) *text {
	t := &text{rng: seeded(seed, 0), at: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	t.makeWords()
	for range pathCount {
		t.paths = append(t.paths, "/"+t.word()+"/"+t.word()+"/"+t.word())
	}
	for range agentCount {
		t.agents = append(t.agents, fmt.Sprintf("Mozilla/5.0 (%s; %s %d.%d) %s/%d.%d", t.word(), t.word(), t.rng.IntN(15), t.rng.IntN(9), t.word(), t.rng.IntN(150), t.rng.IntN(10)))
	}
	return t
}

func (t *text) makeWords() {
	syllables := strings.Fields("ba be bo ca ce co da de di do fa fi ga ge ha he in ka ke la le li lo ma me mi mo na ne no " +
		"pa pe po qua ra re ri ro sa se si so ta te ti to un va ve vi wa we ya ze tion ment ing er st th str pre con per")
	list := make([]string, vocabulary)
	for i := range list {
		for range 1 + t.rng.IntN(4) {
			list[i] += syllables[t.rng.IntN(len(syllables))]
		}
	}
	zipf := rand.NewZipf(t.rng, 1.07, 4, vocabulary-1)
	for range draws {
		t.words = append(t.words, list[zipf.Uint64()])
	}
}

func (t *text) word() string { return t.words[t.rng.Uint32()%draws] }

// Read implements io.Reader; it fails never.
func (t *text) Read(p []byte) (int, error) {
	if t.read == len(t.buf) {
		t.buf, t.read = t.buf[:0], 0
		t.section()
	}
	n := copy(p, t.buf[t.read:])
	t.read += n
	return n, nil
}

// section writes 32 to 256 KiB of one kind.
func (t *text) section() {
	line := []func(){t.access, t.record, t.code, t.prose}[t.rng.IntN(4)]
	for end := 32<<10 + t.rng.IntN(224<<10); len(t.buf) < end; {
		line()
	}
}

func (t *text) put(format string, args ...any) { t.buf = fmt.Appendf(t.buf, format, args...) }

// now goes on by up to 200 ms.
func (t *text) now() time.Time {
	t.at = t.at.Add(time.Duration(t.rng.IntN(200_000)) * time.Microsecond)
	return t.at
}

// access is a line of a web server's log.
func (t *text) access() {
	status := []int{200, 200, 200, 200, 200, 304, 404, 302, 500}[t.rng.IntN(9)]
	t.put("10.%d.%d.%d - - [%s] \"GET %s/%d HTTP/1.1\" %d %d \"-\" %q\n",
		t.rng.IntN(4), t.rng.IntN(16), t.rng.IntN(256), t.now().Format("02/Jan/2006:15:04:05 -0700"),
		t.paths[t.rng.IntN(pathCount)], t.rng.IntN(100_000), status, t.rng.IntN(60_000), t.agents[t.rng.IntN(agentCount)])
}

// record is a line of a program's log.
func (t *text) record() {
	level := []string{"debug", "info", "info", "info", "warn", "error"}[t.rng.IntN(6)]
	t.put(`{"time":%q,"level":%q,"msg":"%s %s %s","%s":%d,"duration_ms":%.3f,"path":%q,"trace_id":"%016x"}`+"\n",
		t.now().Format(time.RFC3339Nano), level, t.word(), t.word(), t.word(), t.word(), t.rng.IntN(10_000),
		t.rng.Float64()*500, t.paths[t.rng.IntN(pathCount)], t.rng.Uint64())
}

// code is a function that does nothing in particular.
func (t *text) code() {
	t.put("// %s %s the %s of a %s, and %s where it is not %s.\nfunc %s(%s %s, %s int) error {\n",
		t.word(), t.word(), t.word(), t.word(), t.word(), t.word(), t.word(), t.word(), t.word(), t.word())
	for range 2 + t.rng.IntN(12) {
		switch t.rng.IntN(4) {
		case 0:
			t.put("\tif err := %s.%s(%s, %d); err != nil {\n\t\treturn fmt.Errorf(\"%s %s: %%w\", err)\n\t}\n", t.word(), t.word(), t.word(), t.rng.IntN(100), t.word(), t.word())
		case 1:
			t.put("\t%s := %s[%s]\n", t.word(), t.word(), t.word())
		case 2:
			t.put("\tfor _, %s := range %s {\n\t\t%s.%s(%s)\n\t}\n", t.word(), t.word(), t.word(), t.word(), t.word())
		default:
			t.put("\t%s.%s = %s.%s(%s)\n", t.word(), t.word(), t.word(), t.word(), t.word())
		}
	}
	t.put("\treturn nil\n}\n\n")
}

// prose is a sentence.
func (t *text) prose() {
	for i := range 6 + t.rng.IntN(14) {
		if i > 0 {
			t.buf = append(t.buf, ' ')
		}
		t.buf = append(t.buf, t.word()...)
	}
	t.buf = append(t.buf, ".\n"...)
}
