package cmd

import "github.com/spf13/cobra"

// newHubCommand holds what runs and tends a hub.
func newHubCommand() *cobra.Command {
	return noun("hub", "Run a hub and tend its keys", settingsHelp,
		newHubServeCommand(), newHubHealthCommand(), newHubKeygenCommand(), newHubRekeyCommand(), newHubImportCommand(), newHubOpenAPICommand())
}

func hubSettings() []string {
	return []string{
		"HUB_LISTEN_ADDR", "HUB_ENCRYPTION_KEK", "HUB_OPERATOR_KEY", "HUB_WORKER_JOIN_TOKEN", "HUB_TLS_CERT_FILE",
		"HUB_TLS_KEY_FILE", "HUB_ALLOW_PLAIN_HTTP", "HUB_MIGRATE", "HUB_DATABASE_CONNS", "HUB_SHUTDOWN_TIMEOUT", "HUB_DOWNLOAD_TTL",
		"HUB_REKEY_BATCH", "HUB_BAD_KEY_LIMIT", "HUB_DELETE_GRACE", "HUB_SOURCE_CONCURRENCY", "HUB_HOST_CONCURRENCY", "HUB_TENANT_CONCURRENCY",
		"HUB_NOTIFY_REFUSE_PRIVATE", "HUB_STORAGE_LEAST_FREE", "HUB_METRICS_SOURCES",
	}
}
