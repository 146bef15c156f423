package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"golang.org/x/sync/errgroup"

	"xvault/internal/entry"
)

func newBudget(t testing.TB, cfg BudgetConfig) *Budget {
	t.Helper()
	b, err := NewBudget(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestSameBytes: what is under the seal does not depend on the cores, on the
// memory, on how a source delivers, or on what was compressed before.
func TestSameBytes(t *testing.T) {
	t.Parallel()
	items := awkward()
	for i := range 4_000 {
		items = append(items, fileItem(fmt.Sprintf("many/%06d", i), fmt.Sprint("content ", i)))
	}
	items = append(items, fileItem("text", textOf(5<<20)))
	items = sortItems(items)
	k := newKeys(t)
	var want []byte
	for _, cfg := range []BudgetConfig{
		{Workers: 1, Extra: 1}, {Workers: 7, Extra: 200 << 20},
	} {
		budget := newBudget(t, cfg)
		for range 2 {
			got := k.write(t, WriterConfig{Budget: budget}, items...).plaintext(t)
			if want == nil {
				want = got
			}
			if !bytes.Equal(got, want) {
				t.Fatalf("%+v: %d bytes under the seal, %d before, and they differ", cfg, len(got), len(want))
			}
		}
	}
}

// TestSameBytesOfALongMember: the same where frames are weighed, long enough for the
// verdict to take effect.
func TestSameBytesOfALongMember(t *testing.T) {
	t.Parallel()
	k := newKeys(t)
	// Quickly compressed, but not to the same bytes by both ways.
	piece := hexNoise(5, 64<<10)
	long := fileItem("hashes", string(bytes.Repeat(piece, (weighFirst+weighLag+4)*MaxFrame/len(piece))))
	long.Size = entry.SizeUnknown
	var want []byte
	for _, cfg := range []BudgetConfig{{Workers: 1, Extra: 1}, {Workers: 2 * weighLag, Extra: 200 << 20}} {
		s := k.write(t, WriterConfig{Budget: newBudget(t, cfg)}, long)
		if _, err := s.check(t); err != nil {
			t.Fatal(err)
		}
		got := s.plaintext(t)
		if want == nil {
			want = got
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("%+v: %d bytes under the seal, %d before, and they differ", cfg, len(got), len(want))
		}
	}
}

// textOf is compressible, but not trivially.
func textOf(n int) string {
	var b bytes.Buffer
	random := newNoise(7)
	word := make([]byte, 2)
	for b.Len() < n {
		_, _ = random.Read(word)
		fmt.Fprintf(&b, "word%d ", word[0])
	}
	return b.String()[:n]
}

func TestBudgetSeats(t *testing.T) {
	t.Parallel()
	k := newKeys(t)
	cfg := WriterConfig{Recipients: []string{k.recipient}, Budget: newBudget(t, BudgetConfig{Writers: 1})}
	w, err := NewWriter(io.Discard, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewWriter(io.Discard, cfg); !errors.Is(err, ErrBusy) {
		t.Fatalf("a second archive: %v, want ErrBusy", err)
	}
	w.Abort()
	w, err = NewWriter(io.Discard, cfg)
	if err != nil {
		t.Fatalf("after the first has ended: %v", err)
	}
	w.Abort()
	for _, bad := range []BudgetConfig{{Writers: -1}, {Extra: -1}, {Workers: -1}} {
		if _, err := NewBudget(bad); err == nil {
			t.Errorf("%+v: accepted", bad)
		}
	}
}

// TestBudgetIsKept writes many archives at once with next to no memory to
// share: none may wait for another for ever, and afterwards all is given back.
func TestBudgetIsKept(t *testing.T) {
	t.Parallel()
	const writers = 6
	budget := newBudget(t, BudgetConfig{Writers: writers, Extra: 2 * slotSize, Workers: 2})
	k := newKeys(t)
	var g errgroup.Group
	for i := range writers {
		g.Go(func() error {
			w, err := NewWriter(io.Discard, WriterConfig{Recipients: []string{k.recipient}, Budget: budget})
			if err != nil {
				return err
			}
			defer w.Abort()
			for j := range 3 {
				h := entry.Header{Path: fmt.Sprint(j), Kind: entry.File, Size: int64(6+i) << 20}
				if j == 1 && i%2 == 0 {
					h.Size = entry.SizeUnknown
				}
				if _, err := w.Add(context.Background(), h, io.LimitReader(newNoise(uint64(i)), int64(6+i)<<20)); err != nil {
					return err
				}
			}
			if i%3 == 0 {
				return nil // aborted
			}
			_, err = w.Close()
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	if budget.seats != writers || budget.writers != 0 || budget.extra != 2 || budget.free != nil {
		t.Errorf("left behind: %d seats, %d writers, %d extra slots, %d free buffers",
			budget.seats, budget.writers, budget.extra, len(budget.free))
	}
}

// Incompressible data is stored as it is: it must not grow noticeably.
func TestIncompressible(t *testing.T) {
	t.Parallel()
	const size = 32 << 20
	s := newKeys(t).write(t, WriterConfig{}, fileItem("noise", noiseString(3, size)))
	if over := len(s.bytes) - size; over > size/1000 {
		t.Errorf("%d bytes of noise take %d more in the artifact", size, over)
	}
}

// TestSharedReading reads an artifact many times at once out of a budget that
// has next to nothing to spare, while one is written.
func TestSharedReading(t *testing.T) {
	t.Parallel()
	const extra = 3
	budget := newBudget(t, BudgetConfig{Writers: 1, Extra: extra * slotSize, Workers: 2})
	k := newKeys(t)
	s := k.write(t, WriterConfig{Budget: budget}, fileItem("a", textOf(13<<20)), fileItem("b", noiseString(2, 9<<20)), fileItem("c", "c"))
	r := s.open(t)
	r.Share(budget)
	w, err := NewWriter(io.Discard, WriterConfig{Recipients: []string{k.recipient}, Budget: budget})
	if err != nil {
		t.Fatal(err)
	}
	var g errgroup.Group
	g.Go(func() error {
		_, err := w.Add(context.Background(), entry.Header{Path: "w", Kind: entry.File, Size: 30 << 20}, newNoise(1))
		return err
	})
	for range 8 {
		g.Go(func() error {
			if _, err := r.ReadFile(context.Background(), "c", 10); err != nil {
				return err
			}
			_, err := r.Check(context.Background(), CheckOptions{})
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
	w.Abort()
	if budget.extra != extra || budget.readings != 0 || budget.free != nil {
		t.Errorf("left behind: %d extra slots, %d readings, %d free buffers", budget.extra, budget.readings, len(budget.free))
	}
}
