package archive

import (
	"context"
	"slices"

	"xvault/internal/entry"
)

// members opens one member after the other of a selection, in archive order.
type members struct {
	r     *Reader
	ctx   context.Context //nolint:containedctx // of the one pass through the archive that it lives for
	roots []string
	span  *tarSpan
	waits func() // the span's
}

// member opens the tar stream at e. What lies a little ahead is reached by
// reading on, for the frames are most likely decompressed already.
func (x *members) member(e *Entry) (*member, error) {
	const near = 4 * MaxFrame
	if x.span != nil {
		gap := e.at.tarOffset() - x.span.offset
		if gap >= 0 && gap <= near && x.span.skip(gap) == nil {
			return openMember(x.span, e)
		}
		x.span.close()
		x.span = nil
	}
	ahead := manyAhead()
	if e.Kind == entry.File && e.Size < MaxFrame && slices.Contains(x.roots, e.Path) {
		ahead = fewAhead
	}
	x.span = x.r.span(x.ctx, e.at.frame.offset, e.at.frame.tar, ahead)
	x.span.waits = x.waits
	if err := x.span.skip(e.at.within); err != nil {
		return nil, err
	}
	return openMember(x.span, e)
}

func (x *members) selected(path string) bool {
	return slices.ContainsFunc(x.roots, func(root string) bool {
		return root == "" || root == path || isBelow(path, root)
	})
}

func (x *members) close() {
	if x.span != nil {
		x.span.close()
		x.span = nil
	}
}
