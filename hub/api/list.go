package api

import (
	"github.com/google/uuid"

	"xvault/store/catalog"
)

// PageQuery is the limit and the cursor of every list.
type PageQuery struct {
	Limit  int    `query:"limit" default:"50" minimum:"1" maximum:"500" doc:"How many at most"`
	Cursor string `query:"cursor" maxLength:"64" doc:"next_cursor of the page before"`
}

// page asks for one row more than wanted: it tells whether there is a next page.
func (q PageQuery) page() (catalog.Page, error) {
	after, err := catalog.DecodeCursor(q.Cursor)
	return catalog.Page{Limit: q.Limit + 1, After: after}, err
}

// List is a page of a list, newest first.
type List[T any] struct {
	Items      []T    `json:"items" nullable:"false"`
	NextCursor string `json:"next_cursor" doc:"For the next page; empty on the last one"`
}

// listOf makes the answer out of the rows that page asked for.
func listOf[Row, Item any](rows []Row, q PageQuery, item func(Row) Item, id func(Row) uuid.UUID) *Body[List[Item]] {
	list := List[Item]{Items: make([]Item, 0, min(len(rows), q.Limit))}
	if len(rows) > q.Limit {
		rows = rows[:q.Limit]
		list.NextCursor = catalog.EncodeCursor(id(rows[q.Limit-1]))
	}
	for _, row := range rows {
		list.Items = append(list.Items, item(row))
	}
	return &Body[List[Item]]{list}
}
