package apiclient

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Fetcher gets files from workers, at addresses that the hub made. The hub's key
// never goes there.
type Fetcher struct {
	// AllowPlainHTTP takes addresses where the files go over a network in clear.
	AllowPlainHTTP bool
	UserAgent      string
	// Tries is how often in a row a connection may break or be refused for now,
	// without a byte in between; 0 means 8.
	Tries int
	// Pause is the wait after the first of them, growing; 0 means half a second.
	Pause time.Duration
	// Stall is how long nothing may come; 0 means 2 min.
	Stall time.Duration
}

// Stream is a file being fetched. Where the worker can, it is taken up again
// after a break, at the byte where it broke; Read tells of a break only when
// that fails. io.EOF comes only at the end of the whole file.
type Stream struct {
	// Size is the file's length in bytes; negative where it is not known.
	Size int64

	f      *Fetcher
	http   *http.Client
	ctx    context.Context
	url    string
	body   io.ReadCloser
	cancel context.CancelFunc
	etag   string
	ranges bool
	at     int64
}

// Open begins to fetch. A refusal is a *Problem.
func (f *Fetcher) Open(ctx context.Context, address string) (*Stream, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return nil, errors.New("the hub gave an address that is none")
	}
	if u.Scheme == "http" && !f.AllowPlainHTTP && !isLoopback(u.Hostname()) {
		return nil, fmt.Errorf("%s would send the files in clear over the network: give the worker a certificate, or say --allow-plain-http (XVAULT_ALLOW_PLAIN_HTTP=true) to accept that", u.Host)
	}
	s := &Stream{f: f, ctx: ctx, url: address, Size: -1}
	// A ticket is for its worker only.
	s.http = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return s, s.connect()
}

// connect asks for what is still missing, patiently.
func (s *Stream) connect() error {
	tries, pause := s.f.Tries, s.f.Pause
	if tries == 0 {
		tries = 8
	}
	if pause == 0 {
		pause = 500 * time.Millisecond
	}
	for try := 1; ; try++ {
		err := s.ask()
		if err == nil || !worthTrying(err) || try >= tries {
			return err
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-s.ctx.Done():
			timer.Stop()
			return context.Cause(s.ctx)
		}
		pause = min(2*pause, 15*time.Second)
	}
}

func worthTrying(err error) bool {
	if _, ok := errors.AsType[*UnreachableError](err); ok {
		return true
	}
	p, ok := errors.AsType[*Problem](err)
	return ok && (p.Status == http.StatusServiceUnavailable || p.Status == http.StatusBadGateway || p.Status == http.StatusGatewayTimeout || p.Status == http.StatusTooManyRequests)
}

func (s *Stream) ask() error {
	ctx, cancel := context.WithCancel(s.ctx)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url, nil)
	if err != nil {
		cancel()
		return errors.New("the hub gave an address that is none")
	}
	req.Header.Set("User-Agent", s.f.UserAgent)
	// What is compressed on the way has another length.
	req.Header.Set("Accept-Encoding", "identity")
	if s.at > 0 {
		req.Header.Set("Range", "bytes="+strconv.FormatInt(s.at, 10)+"-")
		req.Header.Set("If-Range", s.etag)
	}
	resp, err := s.http.Do(req)
	if err != nil {
		cancel()
		return &UnreachableError{Server: req.URL.Host, Err: unwrapURL(err)}
	}
	if err := s.accept(resp); err != nil {
		cancel()
		return errors.Join(err, resp.Body.Close())
	}
	s.body, s.cancel = resp.Body, cancel
	return nil
}

// accept looks whether an answer goes on where the last one broke.
func (s *Stream) accept(resp *http.Response) error {
	switch {
	case resp.StatusCode == http.StatusPartialContent && s.at > 0 && resp.Header.Get("ETag") == s.etag:
		return nil
	case resp.StatusCode == http.StatusOK && s.at > 0:
		return errors.New("the download broke, and what the worker has now is not the same any more")
	case resp.StatusCode == http.StatusOK:
		s.Size, s.etag = resp.ContentLength, resp.Header.Get("ETag")
		s.ranges = resp.Header.Get("Accept-Ranges") == "bytes" && s.etag != ""
		return nil
	}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return &UnreachableError{Server: resp.Request.URL.Host, Err: err}
	}
	return problemOf(resp, raw)
}

// Read implements io.Reader.
func (s *Stream) Read(p []byte) (int, error) {
	for broken := 0; ; {
		n, err := s.read(p)
		s.at += int64(n)
		switch {
		case n > 0:
			return n, nil
		case err == nil:
			continue
		case errors.Is(err, io.EOF) && (s.Size < 0 || s.at == s.Size):
			return 0, io.EOF
		case s.ctx.Err() != nil:
			return 0, context.Cause(s.ctx)
		case !s.ranges:
			return 0, fmt.Errorf("the download broke off after %d bytes, and cannot be taken up again in this format: %w", s.at, cut(err))
		}
		if broken++; broken > 8 {
			return 0, fmt.Errorf("the download breaks off at byte %d of %d every time: %w", s.at, s.Size, cut(err))
		}
		s.hangUp()
		if err := s.connect(); err != nil {
			return 0, fmt.Errorf("take up a download that broke off at byte %d of %d: %w", s.at, s.Size, err)
		}
	}
}

// read gives up on a connection on which nothing comes.
func (s *Stream) read(p []byte) (int, error) {
	stall := s.f.Stall
	if stall == 0 {
		stall = 2 * time.Minute
	}
	timer := time.AfterFunc(stall, s.cancel)
	defer timer.Stop()
	return s.body.Read(p)
}

func cut(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (s *Stream) hangUp() {
	s.cancel()
	_ = s.body.Close() // it is broken already
}

// Close ends the fetching.
func (s *Stream) Close() error {
	s.hangUp()
	return nil
}
