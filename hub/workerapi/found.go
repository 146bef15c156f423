package workerapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/google/uuid"

	"xvault/hub/problem"
	"xvault/internal/job"
	"xvault/store/catalog"
)

// found takes a page of what stands on a worker's storage, where an operator
// asked that worker for it. It becomes nothing by itself: `xvault hub import`
// judges it.
func (a *api) found(ctx context.Context, c *call, page job.FoundPage) (done, error) {
	if fault := pageFault(page); fault != nil {
		return done{}, fault
	}
	err := a.db.KeepFound(ctx, c.ref(), page)
	if errors.Is(err, catalog.ErrNotListing) {
		return done{}, problem.New(http.StatusConflict, job.RefusedListing, "Nobody asks this worker for this listing of this storage.")
	}
	return done{}, err
}

func pageFault(page job.FoundPage) error {
	switch {
	case page.ImportID == uuid.Nil || page.ListingID == uuid.Nil || page.StorageID == uuid.Nil:
		return problem.Field("body.import_id", "it is required, and so are listing_id and storage_id; each is a UUID")
	case len(page.Items) > job.FoundPageItems:
		return problem.Field("body.items", fmt.Sprintf("a page has at most %d", job.FoundPageItems))
	}
	for i, f := range page.Items {
		if f.Place == "" || len(f.Place) > job.MaxPlace || len(f.Manifest) > job.MaxFoundFile || len(f.Meta) > job.MaxFoundFile {
			return problem.Field(fmt.Sprintf("body.items[%d]", i), "its place is missing, or a part of it is too large")
		}
	}
	return nil
}
