package worker

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/google/uuid"
)

// orphansFile holds what the comparisons with the catalog have found so far.
const orphansFile = "orphans"

// maxOrphansFile bounds what is read of it.
const maxOrphansFile = 64 << 20

// orphans remembers for how long the hub has called snapshots unknown. An answer
// that was wrong once, such as that of a catalog restored from last week, thus
// deletes nothing before someone had the time to notice. It is kept in the state
// folder, so that a worker that is restarted often gets there too. What is
// counted is time that passed between two comparisons of one process, by its
// monotonic clock: a clock that jumps makes no snapshot older.
type orphans struct {
	StorageID uuid.UUID `json:"storage_id"` // of which all this is true
	// UnknownMS is for how long each has been unknown, without a break.
	UnknownMS map[uuid.UUID]int64 `json:"unknown_ms"`
	// Removed and RemovedBytes are what was removed from this storage, ever.
	Removed      int64 `json:"removed"`
	RemovedBytes int64 `json:"removed_bytes"`

	compared time.Time // by this process; zero before the first time
}

// of makes sure that the memory is about this storage.
func (o *orphans) of(storage uuid.UUID) {
	if o.StorageID != storage || o.UnknownMS == nil {
		*o = orphans{StorageID: storage, UnknownMS: make(map[uuid.UUID]int64)}
	}
}

// unknown notes that a snapshot is unknown now, and tells for how long it has
// been, and whether it was before.
func (o *orphans) unknown(id uuid.UUID, now time.Time) (since time.Duration, again bool) {
	ms, again := o.UnknownMS[id]
	if again && !o.compared.IsZero() {
		ms += max(0, now.Sub(o.compared).Milliseconds())
	}
	o.UnknownMS[id] = ms
	return time.Duration(ms) * time.Millisecond, again
}

// orphans reads what was kept; a file that cannot be read begins anew, which only
// makes orphans stay longer.
func (s *state) orphans() (*orphans, error) {
	o := new(orphans)
	f, err := s.root.Open(orphansFile)
	if errors.Is(err, os.ErrNotExist) {
		return o, nil
	}
	if err != nil {
		return o, fmt.Errorf("read worker state: %w", err)
	}
	defer func() { _ = f.Close() }() // only read
	info, err := f.Stat()
	if err == nil && info.Size() > maxOrphansFile {
		err = errors.New("it is too large to be ours")
	}
	if err == nil {
		err = json.NewDecoder(f).Decode(o)
	}
	if err != nil {
		return new(orphans), fmt.Errorf("read worker state: %s: %w", orphansFile, err)
	}
	return o, nil
}

func (s *state) keepOrphans(o *orphans) error {
	encoded, err := json.Marshal(o)
	if err != nil {
		return fmt.Errorf("write worker state: %w", err)
	}
	return s.write(orphansFile, string(encoded))
}
