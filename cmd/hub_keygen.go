package cmd

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"xvault/archive/seal"
	"xvault/hub/auth"
)

const hubKeygenHelp = `Prints fresh secrets for a hub, as lines for an environment file:
a key-encryption key, the operator's first key, and the workers' join token.
Nothing is stored: whoever loses HUB_ENCRYPTION_KEK loses every stored secret.`

func newHubKeygenCommand() *cobra.Command {
	var keyID, format string
	c := &cobra.Command{
		Use: "keygen", Short: "Print fresh keys for a hub", Long: hubKeygenHelp, Args: cobra.NoArgs,
		Example: `  umask 077 && xvault hub keygen > hub.env
  xvault hub keygen --key-id 2026-11          # a KEK to rotate to`,
		RunE: func(c *cobra.Command, _ []string) error { return hubKeygen(c, keyID, format) },
	}
	c.Flags().StringVar(&keyID, "key-id", "", "name of the key-encryption key (default: k and today's date)")
	c.Flags().StringVar(&format, "format", "env", "env or json")
	return c
}

func hubKeygen(c *cobra.Command, keyID, format string) error {
	if keyID == "" {
		keyID = time.Now().UTC().Format("k20060102")
	}
	kek, kekErr := seal.NewKEK(keyID)
	operator, operatorErr := auth.NewSecret()
	join, joinErr := auth.NewSecret()
	if err := errors.Join(kekErr, operatorErr, joinErr); err != nil {
		return &usageError{err}
	}
	var err error
	switch format {
	case "env":
		_, err = fmt.Fprintf(c.OutOrStdout(), "HUB_ENCRYPTION_KEK=%s\nHUB_OPERATOR_KEY=%s\nHUB_WORKER_JOIN_TOKEN=%s\n",
			kek.Reveal(), operator.Reveal(), join.Reveal())
	case "json":
		err = json.NewEncoder(c.OutOrStdout()).Encode(map[string]string{
			"hub_encryption_kek": kek.Reveal(), "hub_operator_key": operator.Reveal(), "hub_worker_join_token": join.Reveal(),
		})
	default:
		return usagef("--format must be env or json")
	}
	if err != nil {
		return fmt.Errorf("print keys: %w", err)
	}
	return nil
}
