package cmd

import (
	"github.com/spf13/cobra"

	"xvault/internal/apiclient"
)

var auditView = view[apiclient.AuditEvent]{
	heading: []string{"WHEN", "WHO", "WHAT", "OBJECT", "FROM"},
	row: func(e apiclient.AuditEvent) []string {
		return []string{when(e.CreatedAt), e.ActorType + " " + e.ActorID, e.Action, e.ObjectType + " " + e.ObjectID, e.RemoteAddr}
	},
}

func newAuditCommand() *cobra.Command {
	return noun("audit", "Who did what", "The audit trail tells who did what to which object, when and from where.",
		listCommand("List audit events", (*apiclient.Client).AuditEvents, auditView))
}
