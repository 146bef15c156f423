package apiclient

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"net/http"
	"net/url"
)

// Item is one object as the hub sent it.
type Item[T any] struct {
	Value T
	Raw   json.RawMessage
}

// MarshalJSON gives what the hub sent.
func (i Item[T]) MarshalJSON() ([]byte, error) { return i.Raw, nil }

// Resource is one noun of the API.
type Resource[T any] struct {
	client *Client
	path   string
}

// pageSize is the API's largest.
const pageSize = "500"

// Create posts a new object.
func (r Resource[T]) Create(ctx context.Context, body any) (Item[T], error) {
	return r.decode(r.client.call(ctx, http.MethodPost, r.path, nil, body))
}

// Get fetches one object.
func (r Resource[T]) Get(ctx context.Context, id string) (Item[T], error) {
	return r.decode(r.client.call(ctx, http.MethodGet, r.of(id), nil, nil))
}

// Patch changes fields of one object.
func (r Resource[T]) Patch(ctx context.Context, id string, body any) (Item[T], error) {
	return r.decode(r.client.call(ctx, http.MethodPatch, r.of(id), nil, body))
}

// Delete removes one object.
func (r Resource[T]) Delete(ctx context.Context, id string) error {
	_, err := r.client.call(ctx, http.MethodDelete, r.of(id), nil, nil)
	return err
}

// Act posts to a verb of one object, "cancel", that answers with the object.
func (r Resource[T]) Act(ctx context.Context, id, verb string, body any) (Item[T], error) {
	return r.decode(r.client.call(ctx, http.MethodPost, r.of(id)+"/"+verb, nil, body))
}

// All goes through a list page by page, newest first. Iteration ends after an
// error.
func (r Resource[T]) All(ctx context.Context, query url.Values) iter.Seq2[Item[T], error] {
	return func(yield func(Item[T], error) bool) {
		q := url.Values{"limit": {pageSize}}
		maps.Copy(q, query)
		for {
			page, err := r.page(ctx, q)
			if err != nil {
				yield(Item[T]{}, err)
				return
			}
			for _, raw := range page.Items {
				item, err := r.decode(raw, nil)
				if !yield(item, err) || err != nil {
					return
				}
			}
			if page.NextCursor == "" || len(page.Items) == 0 {
				return
			}
			q.Set("cursor", page.NextCursor)
		}
	}
}

// List collects at most limit objects; 0 means all of them.
func (r Resource[T]) List(ctx context.Context, query url.Values, limit int) ([]Item[T], error) {
	q := url.Values{}
	maps.Copy(q, query)
	if limit > 0 && limit < 500 {
		q.Set("limit", fmt.Sprint(limit))
	}
	items := []Item[T]{}
	for item, err := range r.All(ctx, q) {
		if err != nil {
			return nil, err
		}
		items = append(items, item)
		if len(items) == limit {
			break
		}
	}
	return items, nil
}

type page struct {
	Items      []json.RawMessage `json:"items"`
	NextCursor string            `json:"next_cursor"`
}

func (r Resource[T]) page(ctx context.Context, query url.Values) (page, error) {
	raw, err := r.client.call(ctx, http.MethodGet, r.path, query, nil)
	if err != nil {
		return page{}, err
	}
	var p page
	if err := json.Unmarshal(raw, &p); err != nil {
		return page{}, fmt.Errorf("decode list of %s: %w", r.path, err)
	}
	return p, nil
}

// of escapes the id: it comes from a person.
func (r Resource[T]) of(id string) string { return r.path + "/" + url.PathEscape(id) }

func (r Resource[T]) decode(raw json.RawMessage, err error) (Item[T], error) {
	if err != nil {
		return Item[T]{}, err
	}
	item := Item[T]{Raw: raw}
	if err := json.Unmarshal(raw, &item.Value); err != nil {
		return Item[T]{}, fmt.Errorf("decode answer of %s: %w", r.path, err)
	}
	return item, nil
}
