package cmd

import (
	"fmt"

	"github.com/spf13/cobra"

	"xvault/internal/apiclient"
)

var workerView = view[apiclient.Worker]{
	heading: []string{"ID", "STATUS", "BUSY", "DISK FREE", "STORAGE", "VERSION", "LAST SEEN"},
	row: func(w apiclient.Worker) []string {
		return []string{w.ID, w.Status, fmt.Sprintf("%d/%d", w.SlotsBusy, w.Slots), size(w.DiskFreeBytes), w.StorageState, w.Version, when(w.LastSeenAt)}
	},
	fields: func(w apiclient.Worker) []string {
		return []string{
			"id", w.ID, "name", w.Name, "status", w.Status, "version", w.Version, "busy", fmt.Sprintf("%d of %d slots", w.SlotsBusy, w.Slots),
			"storage", w.StorageBase + " (" + w.StorageState + ")", "disk", fmt.Sprintf("%s free of %s", size(w.DiskFreeBytes), size(w.DiskTotalBytes)),
			"last seen", when(w.LastSeenAt), "created", when(w.CreatedAt),
		}
	},
}

// newWorkerCommand makes the noun; run is the one command that is the worker itself.
func newWorkerCommand(run ...*cobra.Command) *cobra.Command {
	c := noun("worker", "Processes that make backups", `A worker fetches data from sources, seals it and stores it. The commands here look
after the workers of a hub.`, workerClientCommands()...)
	c.AddCommand(run...)
	return c
}

// workerClientCommands are those of the noun that talk to a hub.
func workerClientCommands() []*cobra.Command {
	resource := (*apiclient.Client).Workers
	return []*cobra.Command{
		listCommand("List workers", resource, workerView),
		showCommand("worker", workers, resource, workerView),
		actCommand("drain", "worker", "Let a worker finish what it does and take nothing new", workers, resource, workerView),
		actCommand("resume", "worker", "Let a drained worker take jobs again", workers, resource, workerView),
		removeCommand("worker", workers, resource, "Remove a worker; what only it could do fails"),
	}
}
