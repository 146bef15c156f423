package archive

import (
	"context"
	"fmt"
	"slices"
	"sort"
)

// Walk visits the index in archive order: the entry of that path and all that
// is below it, or everything where path is empty. Without any it fails with
// ErrNotFound, unless path is empty. An error of visit ends the walk and is
// returned as it is. The entry is the visitor's to keep.
func (r *Reader) Walk(ctx context.Context, path string, visit func(*Entry) error) error {
	it, err := r.seek(path)
	if err != nil {
		return err
	}
	found := false
	for {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		e, err := it.next()
		if err != nil {
			return err
		}
		if e == nil || (path != "" && e.Path != path && !isBelow(e.Path, path)) {
			break
		}
		found = true
		if err := visit(e); err != nil {
			return err
		}
	}
	if !found && path != "" {
		return fmt.Errorf("%s: %w", Escape(path), ErrNotFound)
	}
	return nil
}

// Lookup gives the entry of exactly that path, or ErrNotFound.
func (r *Reader) Lookup(path string) (*Entry, error) {
	it, err := r.seek(path)
	if err != nil {
		return nil, err
	}
	e, err := it.next()
	if err != nil {
		return nil, err
	}
	if e == nil || e.Path != path {
		return nil, fmt.Errorf("%s: %w", Escape(path), ErrNotFound)
	}
	return e, nil
}

// iterator goes through the index. It holds one block at a time.
type iterator struct {
	r       *Reader
	block   int // number of the block that entries are of
	entries []Entry
	order   orderCheck
}

// seek gives an iterator whose next entry is the first at or behind path.
func (r *Reader) seek(path string) (*iterator, error) {
	it := &iterator{r: r, block: max(r.dir.find(path), 0) - 1}
	if err := it.load(); err != nil {
		return nil, err
	}
	n := sort.Search(len(it.entries), func(i int) bool {
		return comparePaths(it.entries[i].Path, path) >= 0
	})
	if n > 0 {
		it.order = orderCheck{it.entries[n-1].Path, it.entries[n-1].Kind}
	}
	it.entries = it.entries[n:]
	return it, nil
}

// next gives the next entry, or nil behind the last.
func (it *iterator) next() (*Entry, error) {
	for len(it.entries) == 0 {
		if it.block+1 >= len(it.r.dir.blocks) {
			return nil, nil
		}
		if err := it.load(); err != nil {
			return nil, err
		}
	}
	e := it.entries[0]
	it.entries = it.entries[1:]
	if err := it.order.next(e.Path, e.Kind); err != nil {
		return nil, fmt.Errorf("%w: index: %w", ErrCorrupt, err)
	}
	return &e, nil
}

// load reads the next block, if there is one.
func (it *iterator) load() error {
	if it.block+1 >= len(it.r.dir.blocks) {
		return nil
	}
	it.block++
	entries, err := it.r.indexBlock(it.block)
	if err != nil {
		return err
	}
	it.entries = entries
	return nil
}

// cachedBlock is a decoded index block. Whoever asks for an entry mostly asks
// for its neighbors next, or for the target of a hard link nearby.
type cachedBlock struct {
	number  int
	entries []Entry
}

const maxCachedBlocks = 4

// indexBlock reads a block and holds it to what the directory says of it.
func (r *Reader) indexBlock(n int) ([]Entry, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	at := slices.IndexFunc(r.recent, func(b cachedBlock) bool { return b.number == n })
	if at < 0 {
		entries, err := r.readIndexBlock(r.dir.blocks[n])
		if err != nil {
			return nil, err
		}
		at = min(len(r.recent), maxCachedBlocks-1)
		r.recent = append(r.recent[:at], cachedBlock{n, entries})
	}
	found := r.recent[at]
	copy(r.recent[1:at+1], r.recent[:at])
	r.recent[0] = found
	return found.entries, nil
}

func (r *Reader) readIndexBlock(ref blockRef) ([]Entry, error) {
	frame := make([]byte, ref.length)
	if err := readAtFull(r.plain, frame, ref.offset); err != nil {
		return nil, fmt.Errorf("read index: %w", err)
	}
	entries, err := decodeIndex(r.dec, frame, ref.offset)
	if err != nil {
		return nil, err
	}
	if int64(len(entries)) != ref.count || entries[0].Path != ref.first {
		return nil, fmt.Errorf("%w: an index block is not what the directory says", ErrCorrupt)
	}
	return entries, nil
}
