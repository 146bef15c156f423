package cmd

import (
	"fmt"

	"github.com/spf13/cobra"

	"xvault/hub"
)

const hubRekeyHelp = `Puts every stored secret under the first key of HUB_ENCRYPTION_KEK, while hubs run.
It may be stopped or killed at any moment and run again.

Rotating from the key "old" to the key "new" takes four steps, none of which
stops the service:

  1. xvault hub keygen --key-id new           make the new key
  2. HUB_ENCRYPTION_KEK=old:...,new:...       restart every hub with both
  3. HUB_ENCRYPTION_KEK=new:...,old:...       restart every hub with the new one first,
     xvault hub rekey                         and run this with the same setting
  4. HUB_ENCRYPTION_KEK=new:...               restart every hub without the old key

A hub refuses to start without a key that stored secrets still need. Keep the old
key for as long as you keep backups of the catalog from before the rotation.`

func newHubRekeyCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "rekey", Short: "Move every stored secret to a new encryption key", Long: hubRekeyHelp, Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return hubRekey(c) },
	}
	configFlag(c)
	settingFlag(c, "batch", "HUB_REKEY_BATCH", "how many secrets one transaction moves (100)")
	settingFlag(c, "log-level", "LOG_LEVEL", "debug, info, warn or error")
	settingFlag(c, "log-format", "LOG_FORMAT", "json or text")
	return c
}

func hubRekey(c *cobra.Command) error {
	s, err := loadSettings(c, knownSettings())
	if err != nil {
		return err
	}
	read := reader{s: s}
	cfg := hub.RekeyConfig{
		DatabaseURL: read.required("DATABASE_URL"), EncryptionKEK: read.required("HUB_ENCRYPTION_KEK"),
		Batch: read.number("HUB_REKEY_BATCH", 100),
	}
	if read.err != nil {
		return read.err
	}
	out := c.OutOrStdout()
	cfg.Progress = func(table string, done, left int64) {
		// A lost line of progress is no reason to stop.
		_, _ = fmt.Fprintf(out, "%s: %d secrets rewrapped, %d left\n", table, done, left)
	}
	if cfg.Log, err = logSettings(s, c.ErrOrStderr()); err != nil {
		return err
	}
	report, err := hub.Rekey(c.Context(), cfg)
	if err != nil {
		return err
	}
	if report.Left > 0 {
		return fmt.Errorf("%d secrets were stored under another key meanwhile: restart every hub with %q first, then run this again", report.Left, report.KeyID)
	}
	if _, err := fmt.Fprintf(out, "All secrets are under %q; %d were moved.\n", report.KeyID, report.Rewrapped); err != nil {
		return fmt.Errorf("print the result: %w", err)
	}
	return nil
}
