package wire

import (
	"bufio"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestUnquote(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`"/a b" is the current directory`: "/a b", `"/a ""b"" c"`: `/a "b" c`, `"/a"b" is your current location`: `/a"b`, `"/" root`: "/", `no quote`: "", `"`: "",
	} {
		if got := unquote(text); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

func TestSteps(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("d", 255)
	for path, want := range map[string][]string{
		"/":                     {"/"},
		"/a/b":                  {"/a/b"},
		"/" + long + "/" + long: {"/" + long, long},
		"/" + long + "/~" + long[1:] + "/" + long: {"/" + long, "./~" + long[1:], long},
	} {
		if got := steps(path); !slices.Equal(got, want) {
			t.Errorf("%.20s...: %q, want %q", path, got, want)
		}
	}
}

func TestPorts(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{
		"Entering Extended Passive Mode (|||6446|)": 6446, "ok (!!!1!)": 1, "(|||x|)": 0, "(||1|2|)": 0, "": 0, "(|||": 0,
	} {
		if got, ok := epsvPort(text); ok != (want > 0) || ok && got != want {
			t.Errorf("EPSV %q: %d, %v", text, got, ok)
		}
	}
	for text, want := range map[string]int{
		"Entering Passive Mode (127,0,0,1,4,1).": 1025, "10,0,0,1,0,21": 21, "(1,2,3,4,256,1)": 0, "(1,2,3,4,5)": 0, "": 0,
	} {
		if got, ok := pasvPort(text); ok != (want > 0) || ok && got != want {
			t.Errorf("PASV %q: %d, %v", text, got, ok)
		}
	}
}

func TestReplies(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"220 hello\r\n": "220 hello", "220\n": "220 ", "230-a\r\n230-b\r\n c\r\n230 d\r\n": "230 a|b| c|d", "211-x\r\n 211 y\r\n211 z\r\n": "211 x| 211 y|z",
		"220-a\r\n221 b\r\n220 c\r\n": "220 a|221 b|c",
		"hello\r\n":                   "", "22 x\r\n": "", "099 x\r\n": "", "220-a\r\n": "", "220": "", strings.Repeat("x", maxLine+1): "",
		"220-" + strings.Repeat("a\r\n", maxReplyLines+1): "", "2200 x\r\n": "",
	} {
		r, err := readReply(bufio.NewReaderSize(strings.NewReader(text), maxLine))
		got := ""
		if err == nil {
			got = strings.Join([]string{itoa(r.Code), strings.Join(r.Lines, "|")}, " ")
		}
		if got != want {
			t.Errorf("%.40q: %q, %v, want %q", text, got, err, want)
		}
	}
}

func itoa(n int) string {
	return string([]byte{byte('0' + n/100), byte('0' + n/10%10), byte('0' + n%10)})
}

// A server that asks for patience again and again is not waited for without end.
func TestGreetingThatNeverComes(t *testing.T) {
	t.Parallel()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	defer serving.Wait()
	defer func() { _ = l.Close() }()
	serving.Go(func() {
		server, err := l.Accept()
		if err != nil {
			return
		}
		defer func() { _ = server.Close() }()
		for err == nil {
			_, err = io.WriteString(server, "120 in some minutes\r\n")
		}
	})
	_, err = Dial(t.Context(), Config{Address: l.Addr().String(), Patience: time.Minute, Dial: (&net.Dialer{}).DialContext})
	var refused *ReplyError
	if !errors.As(err, &refused) || refused.Reply.Code != 120 {
		t.Errorf("%v", err)
	}
}
