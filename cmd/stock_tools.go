package cmd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
)

// restoreWithStockTools runs age | zstd | tar, with nothing of xVault between.
func restoreWithStockTools(ctx context.Context, identityFile, artifact, into string) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // the others end when one of them fails
	commands := []*exec.Cmd{
		exec.CommandContext(ctx, "age", "-d", "-i", identityFile, artifact),
		exec.CommandContext(ctx, "zstd", "-d", "-c", "-q"),
		exec.CommandContext(ctx, "tar", "-x", "-p", "-C", into),
	}
	messages := make([]bytes.Buffer, len(commands))
	var ends []*os.File // our copies of the pipes' ends
	defer func() {
		for _, f := range ends {
			if closeErr := f.Close(); closeErr != nil && !errors.Is(closeErr, os.ErrClosed) {
				err = errors.Join(err, closeErr)
			}
		}
	}()
	for i := range commands {
		commands[i].Stderr = &messages[i]
		if i == 0 {
			continue
		}
		r, w, err := os.Pipe()
		if err != nil {
			return fmt.Errorf("connect the tools: %w", err)
		}
		ends = append(ends, r, w)
		commands[i-1].Stdout, commands[i].Stdin = w, r
	}
	for i, c := range commands {
		if err := c.Start(); err != nil {
			cancel()
			for _, running := range commands[:i] {
				_ = running.Wait() // it was killed
			}
			return fmt.Errorf("start %s: %w (`make deps` installs it)", c.Path, err)
		}
	}
	for _, f := range ends { // the tools have them now, and see each other's end
		if err := f.Close(); err != nil {
			return fmt.Errorf("connect the tools: %w", err)
		}
	}
	var errs []error
	for i, c := range commands {
		if err := c.Wait(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w: %s", c.Args[0], err, bytes.TrimSpace(messages[i].Bytes())))
		}
	}
	return errors.Join(errs...)
}
