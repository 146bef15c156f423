package postgres

import (
	"context"
	"errors"

	"xvault/connectors/dumptool"
	"xvault/internal/job"
)

// here implements way with the worker's own programs.
type here struct {
	*server
	source *source
}

func (h *here) clients(ctx context.Context, server int) (dumps, reads client, err error) {
	dumps, err = chooseClient(ctx, h.source.options.ClientFolders, server)
	return dumps, dumps, err
}

// start runs a program over a connection of its own.
func (h *here) start(ctx context.Context, database string, c dumptool.Command) (running, error) {
	dir, err := h.source.tempDir()
	if err != nil {
		return nil, errors.Join(err, closeCheck(c))
	}
	over := &handover{server: h.server}
	relay, err := over.relay(ctx, dir)
	if err != nil {
		return nil, errors.Join(err, closeCheck(c))
	}
	c.Args = append(c.Args, "--no-password", "--dbname="+h.connString(relay, database))
	c.Relay, c.Patience = relay, h.source.options.Patience
	c.Explain = func(f dumptool.Failure) *job.Error { return h.explainDump(f, database, over.last()) }
	d, err := dumptool.Start(ctx, c)
	if err != nil {
		return nil, errors.Join(err, relay.Close())
	}
	return &relayed{d, relay}, nil
}

// relayed is a running program with its connection.
type relayed struct {
	*dumptool.Dump
	relay *dumptool.Relay
}

// Close ends both.
func (r *relayed) Close() error { return errors.Join(r.Dump.Close(), r.relay.Close()) }

func closeCheck(c dumptool.Command) error {
	if c.Check == nil {
		return nil
	}
	return c.Check.Close()
}

func (s *source) tempDir() (string, error) {
	if s.env.TempDir == nil {
		return "", job.Errorf(job.Internal, "there is no folder for the dump program's socket")
	}
	return s.env.TempDir()
}
