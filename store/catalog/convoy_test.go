package catalog

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"xvault/internal/testenv"
)

// road is a convoy on a table of its own.
type road struct {
	*convoy
	t *testing.T
}

func newRoad(t *testing.T) *road {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), testenv.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	if _, err := pool.Exec(t.Context(), "CREATE TABLE n (n int PRIMARY KEY CHECK (n > 0))"); err != nil {
		t.Fatal(err)
	}
	return &road{&convoy{Pool: pool}, t}
}

const insert = "INSERT INTO n (n) VALUES ($1::int) RETURNING n"

// gather has statements wait until all are there, and then sends them off in one
// convoy. It gives what each was told, after a look at whether a row is there.
func (r *road) gather(riders ...pgx.Row) (ns []int, errs []error) {
	r.t.Helper()
	r.underway = convoysAtOnce // nobody sets out
	ns, errs = make([]int, len(riders)), make([]error, len(riders))
	var wg sync.WaitGroup
	for i, rider := range riders {
		wg.Go(func() {
			errs[i] = rider.Scan(&ns[i])
			if errs[i] == nil && !r.stands(ns[i]) {
				errs[i] = fmt.Errorf("%d was acknowledged before it was committed", ns[i])
			}
		})
	}
	testenv.Eventually(r.t, 2*time.Minute, func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.waiting) == len(riders)
	}, "not all wait")
	r.travel()
	wg.Wait()
	return ns, errs
}

func (r *road) stands(n int) bool {
	var there bool
	err := r.Pool.QueryRow(context.Background(), "SELECT EXISTS (SELECT 1 FROM n WHERE n = $1)", n).Scan(&there)
	return err == nil && there
}

func (r *road) count() int {
	r.t.Helper()
	var n int
	if err := r.Pool.QueryRow(r.t.Context(), "SELECT count(*) FROM n").Scan(&n); err != nil {
		r.t.Fatal(err)
	}
	return n
}

func TestConvoyTellsEachItsOwn(t *testing.T) {
	t.Parallel()
	r := newRoad(t)
	var riders []pgx.Row
	for i := range convoyLength {
		riders = append(riders, r.QueryRow(t.Context(), insert, i+1))
	}
	ns, errs := r.gather(riders...)
	for i := range riders {
		if errs[i] != nil || ns[i] != i+1 {
			t.Errorf("%d: %d, %v", i+1, ns[i], errs[i])
		}
	}
}

func TestConvoyGoesOnWithoutWhatIsRefused(t *testing.T) {
	t.Parallel()
	r := newRoad(t)
	_, errs := r.gather(
		r.QueryRow(t.Context(), insert, 1),
		r.QueryRow(t.Context(), insert, -1),
		r.QueryRow(t.Context(), "SELECT n FROM n WHERE n = $1", 9),
		r.QueryRow(t.Context(), insert, 1),
		r.QueryRow(t.Context(), insert, 2),
		r.QueryRow(t.Context(), "SELECT nothing"),
	)
	won := map[bool]int{}
	for _, i := range []int{0, 3} {
		won[errs[i] == nil]++
		if errs[i] != nil && !isViolation(errs[i], "n_pkey") {
			t.Error(errs[i])
		}
	}
	if won[true] != 1 || !isViolation(errs[1], "n_n_check") || !errors.Is(errs[2], pgx.ErrNoRows) || errs[4] != nil || errs[5] == nil {
		t.Errorf("%v", errs)
	}
	if n := r.count(); n != 2 {
		t.Errorf("%d rows", n)
	}
}

func TestConvoyWhoseConnectionEndsIsNotRepeated(t *testing.T) {
	t.Parallel()
	r := newRoad(t)
	_, errs := r.gather(
		r.QueryRow(t.Context(), insert, 1),
		r.QueryRow(t.Context(), "SELECT pg_terminate_backend(pg_backend_pid())::int"),
		r.QueryRow(t.Context(), insert, 2),
	)
	for i, err := range errs {
		if err == nil {
			t.Errorf("%d is said to have happened", i)
		}
	}
	if n := r.count(); n != 0 {
		t.Errorf("%d rows", n)
	}
}

// The context of one who waits ends nothing for the others; once nobody waits
// the statements end.
func TestConvoyWaitsAsLongAsSomebodyDoes(t *testing.T) {
	t.Parallel()
	r := newRoad(t)
	tx, err := r.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), "LOCK TABLE n"); err != nil {
		t.Fatal(err)
	}
	const hurried = 2
	var ends []context.CancelFunc
	var riders []pgx.Row
	for i := range hurried + 1 {
		ctx, end := context.WithCancel(t.Context())
		ends = append(ends, end)
		riders = append(riders, r.QueryRow(ctx, insert, i+1))
	}
	var errs []error
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, errs = r.gather(riders...)
	}()
	testenv.Eventually(t, 2*time.Minute, func() bool {
		var n int
		err := r.Pool.QueryRow(t.Context(), "SELECT count(*) FROM pg_locks WHERE NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())").Scan(&n)
		return err == nil && n == 1
	}, "nothing waits for the lock")
	for i := range hurried {
		ends[i]()
	}
	select {
	case <-done:
		t.Fatal("the convoy ended with the first who did not wait")
	case <-time.After(50 * time.Millisecond):
	}
	ends[hurried]()
	<-done
	for i, err := range errs {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%d: %v", i, err)
		}
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := r.count(); n != 0 {
		t.Errorf("%d rows", n)
	}
}

func TestConvoysOfMany(t *testing.T) {
	t.Parallel()
	r := newRoad(t)
	const callers, each, most = 40, 25, 300 // many of the same number
	var mu sync.Mutex
	said := map[int]int{}
	var wg sync.WaitGroup
	for caller := range callers {
		wg.Go(func() {
			for i := range each {
				n, got := (caller*7919+i*104729)%most, 0
				err := r.QueryRow(t.Context(), insert, n).Scan(&got)
				switch {
				case err == nil && got == n:
					mu.Lock()
					said[n]++
					mu.Unlock()
				case !isViolation(err, "n_pkey") && !isViolation(err, "n_n_check"):
					t.Errorf("%d: %d, %v", n, got, err)
				}
			}
		})
	}
	wg.Wait()
	for n, times := range said {
		if times != 1 || !r.stands(n) {
			t.Errorf("%d is said to have been inserted %d times", n, times)
		}
	}
	if n := r.count(); n != len(said) {
		t.Errorf("%d rows, %d were acknowledged", n, len(said))
	}
	testenv.Eventually(t, 2*time.Minute, func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.underway == 0 && r.waiting == nil
	}, "convoys go on with nobody in them")
}
