package shell

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"
)

// process is a command that runs on the server.
type process struct {
	ssh.Channel
	marker   string
	since    time.Time
	heard    atomic.Int64 // after how long it last said something
	received atomic.Int64 // bytes that it sent, on either output
	requests sync.WaitGroup
	stopped  atomic.Bool
	muted    atomic.Bool // it was stopped because it says nothing
	once     sync.Once
	closeErr error
}

// maxNoise is how much start files may print, in bytes.
const maxNoise = 64 << 10

// run starts a command and gives it its marker. OpenSSH takes no input before the
// command runs, so that asking whether it does costs no round trip.
func run(conn Opener, command string) (*process, error) {
	channel, requests, err := conn.OpenChannel("session", nil)
	if err != nil {
		return nil, fmt.Errorf("open a channel: %w", err)
	}
	p := &process{
		Channel: channel, marker: newMarker(),
		since: time.Now(), //nolint:forbidigo // measures silence, decides nothing else
	}
	p.requests.Go(func() { ssh.DiscardRequests(requests) })
	ok, err := channel.SendRequest("exec", true, ssh.Marshal(struct{ Command string }{command}))
	if err == nil && !ok {
		err = fmt.Errorf("the server runs no commands: %w", ErrUnfit)
	}
	if err == nil {
		_, err = io.WriteString(p, p.marker+"\n")
	}
	if err != nil {
		p.stop()
		return nil, err
	}
	return p, nil
}

// stop ends the command; whoever reads from it gets an error. It may be called at
// any time, by anybody.
func (p *process) stop() {
	p.stopped.Store(true)
	p.once.Do(func() { p.closeErr = p.Close() })
}

// said reads the command's error output.
func (p *process) said() *bufio.Reader { return bufio.NewReaderSize(output{p, p.Stderr()}, 8<<10) }

// silent is for how long nothing was heard of it.
func (p *process) silent() time.Duration {
	return time.Since(p.since) - time.Duration(p.heard.Load())
}

func (p *process) touch() { p.heard.Store(int64(time.Since(p.since))) }

// output is a command's output, behind the marker.
type output struct {
	p *process
	r io.Reader
}

func (o output) Read(b []byte) (int, error) {
	n, err := o.r.Read(b)
	if n > 0 {
		o.p.received.Add(int64(n))
		o.p.touch()
	}
	return n, err
}

// skipNoise reads up to the line with the marker and gives the rest of that line.
func (p *process) skipNoise(r *bufio.Reader) (string, error) {
	var seen int
	for seen < maxNoise {
		line, err := r.ReadSlice('\n')
		seen += len(line)
		if i := bytes.Index(line, []byte(p.marker)); i >= 0 && err == nil {
			return strings.TrimSpace(string(line[i+len(p.marker):])), nil
		}
		if err != nil && err != bufio.ErrBufferFull { //nolint:errorlint // bufio's own, as it is
			return "", fmt.Errorf("the shell ends before it does anything: %w", ErrUnfit)
		}
	}
	return "", fmt.Errorf("the shell prints other things: %w", ErrUnfit)
}

// isGNU reads what a program calls itself: "(GNU tar) 1.34". It gives the words to
// show.
func isGNU(words, name string) (string, error) {
	if len(words) > 80 {
		words = words[:80]
	}
	if !strings.HasPrefix(words, "(GNU "+name+") ") {
		return "", fmt.Errorf("there is no GNU %s: %w", name, ErrUnfit)
	}
	return strings.NewReplacer("(", "", ")", "").Replace(words), nil
}
