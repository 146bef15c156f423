package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// registerSnapshotLife adds what ends a snapshot, and what keeps it from ending.
func (s *server) registerSnapshotLife(api huma.API) {
	tags := []string{"snapshots"}
	register(s, api, huma.Operation{
		OperationID: "delete-snapshot", Method: http.MethodDelete, Path: "/snapshots/{id}", Tags: tags, DefaultStatus: http.StatusCreated,
		Summary: "Delete a snapshot",
		Description: "The snapshot is deleting at once, and can neither be restored nor verified any more. The job that removes its files runs after the " +
			"hub's grace time (run_after); until a worker begins, undelete takes it all back. Repeating the call gives the same job. " +
			"409: snapshot_held, snapshot_deleted, worker_removed.",
	}, s.deleteSnapshot)
	register(s, api, huma.Operation{
		OperationID: "undelete-snapshot", Method: http.MethodPost, Path: "/snapshots/{id}/undelete", Tags: tags,
		Summary:     "Take the deletion of a snapshot back",
		Description: "The snapshot is what it was before. 409: deletion_begun, where a worker already removes its files, snapshot_deleted, snapshot_not_deleting.",
	}, s.undeleteSnapshot)
	register(s, api, huma.Operation{
		OperationID: "accept-snapshot", Method: http.MethodPost, Path: "/snapshots/{id}/accept", Tags: tags,
		Summary: "Say that a suspicious snapshot is good",
		Description: "It is completed and counts from now on, and later ones are compared with it rather than with what was before. " +
			"409: snapshot_not_suspicious.",
	}, s.acceptSnapshot)
}

type deleteSnapshotInput struct {
	IDPath
	Now bool `query:"now" doc:"Without the grace time"`
}

func (s *server) deleteSnapshot(ctx context.Context, in *deleteSnapshotInput) (*Body[Job], error) {
	var grace time.Duration
	if !in.Now {
		grace = s.deleteGrace
	}
	queued, err := s.scope(ctx).RequestDeletion(ctx, in.ID, grace)
	if err != nil {
		return nil, err
	}
	return &Body[Job]{jobOf(queued)}, nil
}

func (s *server) undeleteSnapshot(ctx context.Context, in *IDPath) (*Body[Snapshot], error) {
	snapshot, err := s.scope(ctx).TakeBackSnapshot(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return &Body[Snapshot]{snapshotOf(snapshot)}, nil
}

func (s *server) acceptSnapshot(ctx context.Context, in *IDPath) (*Body[Snapshot], error) {
	snapshot, err := s.scope(ctx).AcceptSnapshot(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return &Body[Snapshot]{snapshotOf(snapshot)}, nil
}
