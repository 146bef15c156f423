package api

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"xvault/hub/problem"
	"xvault/internal/job"
	"xvault/internal/ticket"
	"xvault/store/catalog"
)

// filesTTL is for how long a list of files can be asked for with one ticket.
const filesTTL = 15 * time.Minute

func (s *server) registerRestores(api huma.API) {
	const how = "Queues a job for the worker that holds the snapshot. With destination download, when it is done, result.download_url is where the files are fetched, " +
		"from the worker itself, any number of times until result.expires_at: with Range, so that a download can be taken up again (tar, tar.zst, file). " +
		"Canceling the completed job revokes it. With destination source the worker writes the files back to the source, or to another one: " +
		"beside and renamed, never through a link; result counts what was written, skipped and overwritten, and names what could not be. " +
		"existing other than skip replaces files, and needs confirm: true."
	register(s, api, huma.Operation{
		OperationID: "restore-snapshot", Method: http.MethodPost, Path: "/snapshots/{id}/restore", Tags: []string{"snapshots"},
		DefaultStatus: http.StatusCreated, Summary: "Restore a snapshot, or some of its paths: as a download, or back to a source", Description: how,
	}, s.restoreSnapshot)
	register(s, api, huma.Operation{
		OperationID: "restore-job", Method: http.MethodPost, Path: "/jobs/{id}/restore", Tags: []string{"jobs"},
		DefaultStatus: http.StatusCreated, Summary: "Restore the snapshot that this backup made", Description: how,
	}, s.restoreJob)
	register(s, api, huma.Operation{
		OperationID: "list-snapshot-files", Method: http.MethodGet, Path: "/snapshots/{id}/files", Tags: []string{"snapshots"},
		Summary: "Get an address where the files of a snapshot are listed",
		Description: "The hub does not know the names of files: url is on the worker that holds the snapshot, and a GET there answers with a page of " +
			"{items, next_cursor}. It takes path (a folder: what is directly in it), search (a part of a path: all that matches below path), limit and cursor.",
	}, s.listSnapshotFiles)
}

// restoreRequest says what of a snapshot is wanted, and how.
type restoreRequest struct {
	Paths       []string `json:"paths,omitempty" maxItems:"10000" nullable:"false" doc:"Absolute source paths; all that is under them comes along. Default: everything"`
	PathsBase64 []string `json:"paths_base64,omitempty" maxItems:"10000" nullable:"false" doc:"More of them, for paths that are not UTF-8"`
	Format      string   `json:"format,omitempty" enum:"tar,tar.zst,zip,file" doc:"Of a download. Default: tar. file: the content of the one file that paths names"`
	SourceRestore
}

type restoreInput struct {
	IDPath
	Body *restoreRequest `required:"false"`
}

func (s *server) restoreSnapshot(ctx context.Context, in *restoreInput) (*Body[Job], error) {
	return s.restore(ctx, in.ID, in.Body)
}

func (s *server) restoreJob(ctx context.Context, in *restoreInput) (*Body[Job], error) {
	found, err := s.scope(ctx).Job(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if found.Kind != job.Backup || found.SnapshotID == nil {
		return nil, &catalog.Conflict{Code: "job_has_no_snapshot", Message: "Only a backup that made a snapshot can be restored."}
	}
	return s.restore(ctx, *found.SnapshotID, in.Body)
}

func (s *server) restore(ctx context.Context, snapshot uuid.UUID, body *restoreRequest) (*Body[Job], error) {
	payload, err := body.payload()
	if err != nil {
		// What is not there at all is not told apart by its body.
		if _, missing := s.scope(ctx).Snapshot(ctx, snapshot); missing != nil {
			return nil, missing
		}
		return nil, err
	}
	var created catalog.Job
	if payload.Destination == job.DestinationSource {
		created, err = s.scope(ctx).CreateSourceRestore(ctx, catalog.SourceRestoreRequest{
			SnapshotID: snapshot, TargetID: body.target(), Payload: payload, Writable: s.writable, Site: s.isSite,
		})
	} else {
		created, err = s.scope(ctx).CreateDownload(ctx, catalog.DownloadRequest{SnapshotID: snapshot, Payload: payload, TTL: s.downloadTTL})
	}
	if err != nil {
		return nil, err
	}
	s.log.InfoContext(ctx, "restore queued", "job_id", created.ID, "snapshot_id", snapshot, "destination", payload.Destination, "request_id", requestID(ctx))
	return &Body[Job]{jobOf(created)}, nil
}

// payload checks a request; a missing one asks for everything.
func (r *restoreRequest) payload() (job.RestorePayload, error) {
	p := job.RestorePayload{Destination: job.DestinationDownload, Format: job.FormatTar}
	if r == nil {
		return p, nil
	}
	if r.Format != "" {
		p.Format = job.RestoreFormat(r.Format)
	}
	faults := r.settle(&p, r.Format != "")
	add := func(location, path string) {
		if err := job.CheckSourcePath(path); err != nil {
			faults = append(faults, problem.FieldError{Location: location, Message: err.Error()})
			return
		}
		p = p.With(path)
	}
	for i, path := range r.Paths {
		add(fmt.Sprintf("body.paths[%d]", i), path)
	}
	for i, encoded := range r.PathsBase64 {
		location := fmt.Sprintf("body.paths_base64[%d]", i)
		path, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil {
			faults = append(faults, problem.FieldError{Location: location, Message: "it is not base64"})
			continue
		}
		add(location, string(path))
	}
	if len(faults) == 0 && p.Format == job.FormatFile && len(p.Members()) != 1 {
		faults = append(faults, problem.FieldError{Location: "body.paths", Message: "the format file needs exactly one path, that of a file"})
	}
	if len(faults) > 0 {
		return p, problem.Validation(faults[:min(len(faults), maxFaults)]...)
	}
	return p, nil
}

// maxFaults bounds how many wrong paths are named.
const maxFaults = 20

type listFilesInput struct {
	IDPath
	Path   string `query:"path" maxLength:"32768" doc:"The folder to look into, as on the source. Default: the topmost"`
	Search string `query:"search" maxLength:"1000" doc:"Only what has this in its path, upper and lower case alike, at any depth"`
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" doc:"How many at most; the worker's default is 200"`
	Cursor string `query:"cursor" maxLength:"50000" doc:"next_cursor of the page before"`
}

// FilesAddress is where a snapshot's files are listed.
type FilesAddress struct {
	URL       string `json:"url" doc:"On the worker; a secret, for whoever knows it may ask there"`
	ExpiresAt Time   `json:"expires_at"`
}

func (s *server) listSnapshotFiles(ctx context.Context, in *listFilesInput) (*Body[FilesAddress], error) {
	made, err := s.scope(ctx).FilesTicket(ctx, in.ID, filesTTL)
	if err != nil {
		return nil, err
	}
	query := url.Values{}
	if in.Path != "" {
		query.Set("path", in.Path)
	}
	if in.Search != "" {
		query.Set("search", in.Search)
	}
	if in.Limit > 0 {
		query.Set("limit", strconv.Itoa(in.Limit))
	}
	if in.Cursor != "" {
		query.Set("cursor", in.Cursor)
	}
	address, err := s.ticketURL(made, "files", query)
	if err != nil {
		return nil, err
	}
	return &Body[FilesAddress]{FilesAddress{URL: address, ExpiresAt: Time{made.Ticket.Expires}}}, nil
}

// ticketURL signs a ticket and puts it into an address of its worker.
func (s *server) ticketURL(t catalog.JobTicket, call string, query url.Values) (string, error) {
	base, err := url.Parse(t.PublicURL)
	if err != nil {
		return "", fmt.Errorf("public URL of worker %s: %w", t.Ticket.Worker, err)
	}
	query.Set("ticket", ticket.Sign(s.ticketKey, t.Ticket))
	address := base.JoinPath(call, t.Ticket.Subject.String())
	address.RawQuery = query.Encode()
	return address.String(), nil
}

// withDownloads adds to restores that completed where their files are. The
// ticket in it is made anew each time: it stands nowhere.
func (s *server) withDownloads(ctx context.Context, jobs ...*Job) error {
	ids := make([]uuid.UUID, 0, len(jobs))
	for _, j := range jobs {
		if j.Type == string(job.Restore) && j.Status == string(job.Completed) {
			ids = append(ids, j.ID)
		}
	}
	tickets, err := s.scope(ctx).JobTickets(ctx, ids)
	if err != nil || len(tickets) == 0 {
		return err
	}
	for _, j := range jobs {
		if t, ok := tickets[j.ID]; ok {
			if err := s.addDownload(j, t); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *server) addDownload(j *Job, t catalog.JobTicket) error {
	result := map[string]json.RawMessage{}
	if len(j.Result) > 0 {
		if err := json.Unmarshal(j.Result, &result); err != nil {
			return fmt.Errorf("read result of job %s: %w", j.ID, err)
		}
	}
	add := map[string]any{"expires_at": Time{t.Ticket.Expires}}
	switch {
	case t.RevokedAt != nil:
		add["revoked_at"] = Time{*t.RevokedAt}
	case t.PublicURL != "":
		address, err := s.ticketURL(t, "download", url.Values{})
		if err != nil {
			return err
		}
		add["download_url"] = address
	}
	for name, value := range add {
		encoded, err := json.Marshal(value)
		if err != nil {
			return fmt.Errorf("encode result of job %s: %w", j.ID, err)
		}
		result[name] = encoded
	}
	encoded, err := json.Marshal(result)
	if err != nil {
		return fmt.Errorf("encode result of job %s: %w", j.ID, err)
	}
	j.Result = encoded
	return nil
}

// revokeDownload is what canceling means for a restore that completed; for every
// other job that cannot be canceled it is the refusal as it was.
func (s *server) revokeDownload(ctx context.Context, in *IDPath, refusal error) (*Body[Job], error) {
	var conflict *catalog.Conflict
	if !errors.As(refusal, &conflict) || conflict.Code != "job_ended" {
		return nil, refusal
	}
	err := s.scope(ctx).RevokeDownload(ctx, in.ID)
	if errors.Is(err, catalog.ErrNotFound) {
		return nil, refusal
	}
	if err != nil {
		return nil, err
	}
	return s.getJob(ctx, in)
}
