package mysql

import (
	"context"
	"fmt"
	"log/slog"
	"time"
)

// tidy is how long removing what is not whole may take.
const tidy = 15 * time.Second

// dropHalf removes a new database that is not whole, also where the restore was told
// to stop. What stays is told of, and removed by the next attempt.
func (t *target) dropHalf(ctx context.Context, name string) {
	t.tidyUp(ctx, name, t.drop, fmt.Sprintf("the new database %q, as far as it was made, is not whole and could not be removed: another attempt of this restore does that; if none comes, drop it", name))
}

// dropUnsure removes a new database that is loaded, and of which nobody knows whether it
// still has the mark.
func (t *target) dropUnsure(ctx context.Context, name string) {
	t.tidyUp(ctx, name, t.drop, fmt.Sprintf("the new database %q holds all of the dump and could not be removed, but may still have the table %q, which says that it is not whole: another attempt of this restore may load it anew; if none does, use it, without that table", name, t.mark()))
}

// takeBack removes what was made of a database before anything was loaded, where nobody
// knows how far that came. there: the database was there before, and stays, as one does
// in which others made tables meanwhile.
func (t *target) takeBack(ctx context.Context, name string, there bool) {
	note := fmt.Sprintf("the new database %q, if it was made, is not whole and could not be removed: another attempt of this restore does that; if none comes, drop it if it holds nothing, or nothing but the table %q", name, t.mark())
	if there {
		note = fmt.Sprintf("the database %q, which was there before, may now have the table %q, which says that it is not whole and could not be removed: another attempt of this restore replaces the database; if none comes, drop the table", name, t.mark())
	}
	t.tidyUp(ctx, name, func(ctx context.Context, name string) error { return t.dropMade(ctx, name, there) }, note)
}

// dropMade is of a database of which the restore made nothing but itself, unless it was
// there, and the mark.
func (t *target) dropMade(ctx context.Context, name string, there bool) error {
	tables, err := t.server.tables(ctx, name)
	if err != nil {
		return t.askError(ctx, err)
	}
	marked, others := false, false
	for _, table := range tables {
		mark := table.name == t.mark()
		marked, others = marked || mark, others || !mark
	}
	switch {
	case !there && !others:
		return t.drop(ctx, name)
	case marked:
		return t.unmark(ctx, name)
	}
	return nil
}

func (t *target) drop(ctx context.Context, name string) error {
	return t.run(ctx, "DROP DATABASE IF EXISTS "+quoteName(name))
}

// tidyUp removes something, also where the restore was told to stop; where that fails a
// note tells what stays.
func (t *target) tidyUp(ctx context.Context, name string, remove func(context.Context, string) error, note string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tidy)
	defer cancel()
	err := remove(ctx, name)
	if err == nil {
		return
	}
	t.env.Log.Warn("what an attempt left in a database could not be removed", slog.String("left", note), slog.String("database", name), slog.Any("error", err))
	t.mu.Lock()
	defer t.mu.Unlock()
	t.note(note)
}
