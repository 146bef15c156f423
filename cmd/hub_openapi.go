package cmd

import (
	"fmt"

	"github.com/spf13/cobra"

	"xvault/hub/api"
)

// newHubOpenAPICommand prints what /api/v1/openapi.json serves, for generators.
func newHubOpenAPICommand() *cobra.Command {
	return &cobra.Command{
		Use: "openapi", Short: "Print the API's description, OpenAPI 3.1", Args: cobra.NoArgs, Hidden: true,
		RunE: func(c *cobra.Command, _ []string) error {
			description, err := api.Description(buildVersion())
			if err != nil {
				return fmt.Errorf("describe the API: %w", err)
			}
			if _, err := c.OutOrStdout().Write(description); err != nil {
				return fmt.Errorf("print the description: %w", err)
			}
			return nil
		},
	}
}
