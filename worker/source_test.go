package worker

import (
	"context"
	"strings"
	"sync"
	"time"

	"xvault/connectors"
	"xvault/internal/entry"
	"xvault/internal/job"
)

// memorySource is a source in memory, where a test needs one that waits, fails
// or shows something at a chosen moment.
type memorySource struct {
	items []connectors.Item
	// during is called when everything but the end was read.
	during func(ctx context.Context, env connectors.Env) error
	probe  func(ctx context.Context, env connectors.Env) (connectors.ProbeResult, error)
	drill  connectors.Drill
}

type openMemory struct {
	*memorySource
	env    connectors.Env
	once   sync.Once
	closed chan struct{}
}

func (s *memorySource) kind() connectors.Type {
	return connectors.Type{
		Name: "memory", Version: "1",
		Open: func(_ []byte, env connectors.Env) (connectors.Source, error) {
			return &openMemory{memorySource: s, env: env, closed: make(chan struct{})}, nil
		},
		Drill: func(ctx context.Context, env connectors.DrillEnv) (job.DrillResult, error) { return s.drill(ctx, env) },
	}
}

func (s *openMemory) Close() error {
	s.once.Do(func() { close(s.closed) })
	return nil
}

func (s *openMemory) Probe(ctx context.Context) (connectors.ProbeResult, error) {
	return s.probe(ctx, s.env)
}

func (s *openMemory) Read(ctx context.Context, visit func(connectors.Item) error) error {
	for _, item := range s.items {
		if c, ok := item.Body.(content); ok {
			item.Body = strings.NewReader(string(c))
		}
		if err := visit(item); err != nil {
			return err
		}
	}
	if s.during != nil {
		return s.during(ctx, s.env)
	}
	return nil
}

// content stands for a reader that is made anew for each reading.
type content string

func (content) Read([]byte) (int, error) { panic("not to be read itself") }

func file(path, text string) connectors.Item {
	return connectors.Item{
		Header: entry.Header{Path: path, Kind: entry.File, Mode: 0o640, Size: int64(len(text)), ModTime: time.Unix(1_700_000_000, 0)},
		Body:   content(text),
	}
}

func dir(path string) connectors.Item {
	return connectors.Item{Header: entry.Header{Path: path, Kind: entry.Dir, Mode: 0o750, ModTime: time.Unix(1_700_000_000, 0)}}
}

func unreadable(path string, code job.Code, message string) connectors.Item {
	item := file(path, "")
	item.Body = nil
	item.Err = &job.Error{Code: code, Message: message}
	return item
}

func smallTree() []connectors.Item {
	return []connectors.Item{dir("srv"), file("srv/a.txt", "hello"), file("srv/b.txt", "world")}
}

// untilDone waits as a source does whose server does not answer.
func untilDone(ctx context.Context, _ connectors.Env) error {
	<-ctx.Done()
	return context.Cause(ctx)
}
