package cmd

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"xvault/internal/apiclient"
)

func newSourceProbeCommand() *cobra.Command {
	var opts clientOptions
	var wait bool
	c := &cobra.Command{
		Use: "probe SOURCE", Short: "Look whether a source can be reached", Args: cobra.ExactArgs(1),
		Long: `Has a worker connect, log in and look at every path, without reading content. It
tells the server's host key, what is reachable and what to fix.`,
		Example:           `  xvault source probe web1 --wait`,
		ValidArgsFunction: opts.completion(sources),
		RunE: opts.run(func(ctx context.Context, s *session, args []string) error {
			id, err := s.resolve(ctx, "source", sources, args[0])
			if err != nil {
				return err
			}
			item, err := s.Probe(ctx, id)
			if err != nil {
				return err
			}
			return s.follow(ctx, item, wait, showProbe)
		}),
	}
	opts.addFlags(c)
	c.Flags().BoolVar(&wait, "wait", false, "wait for the answer; exit 3 when the source cannot be reached")
	return c
}

// probeResult is what a probe job found.
type probeResult struct {
	HostKey            string `json:"host_key"`
	HostKeyFingerprint string `json:"host_key_fingerprint"`
	ServerVersion      string `json:"server_version"`
	Transport          string `json:"transport"`
	Paths              []struct {
		Path      string `json:"path"`
		Reachable bool   `json:"reachable"`
		Kind      string `json:"kind"`
		Error     *struct {
			Code    string `json:"code"`
			Message string `json:"message"`
		} `json:"error"`
	} `json:"paths"`
	Warnings []string `json:"warnings"`
}

func showProbe(_ context.Context, s *session, j apiclient.Job) error {
	var result probeResult
	if len(j.Result) == 0 {
		return nil
	}
	if err := json.Unmarshal(j.Result, &result); err != nil {
		return fmt.Errorf("decode what the probe found: %w", err)
	}
	if err := s.out.fields("server", result.ServerVersion, "how", result.Transport, "host key", result.HostKey, "fingerprint", result.HostKeyFingerprint); err != nil {
		return err
	}
	rows := make([][]string, 0, len(result.Paths))
	for _, p := range result.Paths {
		found := first(p.Kind, "reachable")
		if !p.Reachable {
			found = "not reachable"
		}
		if p.Error != nil {
			found = p.Error.Code + ": " + p.Error.Message
		}
		rows = append(rows, []string{p.Path, found})
	}
	if len(rows) > 0 {
		if err := s.out.table([]string{"PATH", "FOUND"}, rows); err != nil {
			return err
		}
	}
	for _, w := range result.Warnings {
		s.out.printf("note: %s\n", printable(w))
	}
	return s.out.err
}
