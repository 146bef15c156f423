package simulation

import (
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"xvault/e2e/system"
)

// Action is something that happens at a moment of the simulated time. Seed
// decides its details.
type Action struct {
	At   time.Time
	Kind string
	Seed uint64
}

// Plan is what happens, in order, drawn from a seed alone.
type Plan struct {
	Seed       uint64
	Start, End time.Time
	Actions    []Action
	fleet      []sourcePlan
}

// rates says how many of a group of actions happen a day.
type rates struct{ storms, people, edits, troubles, times float64 }

// Week draws a short life: five days with each fault that is quickly over.
func Week(seed uint64) Plan {
	p := Plan{Seed: seed, fleet: smallFleet(), Start: time.Date(2018, 11, 1, 20, 0, 0, 0, time.UTC)}
	p.End = p.Start.AddDate(0, 0, 5)
	p.draw(rates{storms: 2, people: 2, edits: 3, troubles: 1, times: 1}, []string{freezeWorker})
	return p
}

// Months draws sixty days with everything.
func Months(seed uint64) Plan {
	p := Plan{Seed: seed, fleet: fullFleet(), Start: time.Date(2018, 9, 24, 12, 0, 0, 0, time.UTC)}
	p.End = p.Start.AddDate(0, 0, 60)
	p.draw(rates{storms: 2.5, people: 3, edits: 6, troubles: 0.7, times: 0.25}, nil)
	return p
}

func (p *Plan) draw(r rates, without []string) {
	p.drawTypes()
	rng := rand.New(rand.NewPCG(p.Seed, 1))
	for _, group := range []struct {
		kinds []string
		rate  float64
	}{
		{storms(), r.storms}, {people(), r.people}, {[]string{editSource}, r.edits}, {troubles(), r.troubles}, {times(), r.times},
	} {
		kinds := slices.DeleteFunc(group.kinds, func(k string) bool { return slices.Contains(without, k) })
		p.group(rng, kinds, group.rate)
	}
	slices.SortStableFunc(p.Actions, func(a, b Action) int { return a.At.Compare(b.At) })
}

// drawTypes draws how each source is read. Among those whose server runs programs one
// at least is of each type, so that no life is without one.
func (p *Plan) drawTypes() {
	rng := rand.New(rand.NewPCG(p.Seed, 3)) // of its own: what happens stays as it was
	next := rng.IntN(2)
	for i := range p.fleet {
		if p.fleet[i].server == rootServer {
			p.fleet[i].kind = system.Transports()[next]
			next = 1 - next
		} else {
			p.fleet[i].kind = system.Transports()[rng.IntN(2)]
		}
	}
}

// group has each kind happen as often as the others, in an order and at times
// that are drawn.
func (p *Plan) group(rng *rand.Rand, kinds []string, rate float64) {
	n := int(rate * p.End.Sub(p.Start).Hours() / 24)
	var bag []string
	// The first and the last hours are quiet, so that there is something to lose
	// and time to mend.
	span := p.End.Sub(p.Start) - 28*time.Hour
	for range n {
		if len(bag) == 0 {
			bag = slices.Clone(kinds)
			rng.Shuffle(len(bag), func(i, j int) { bag[i], bag[j] = bag[j], bag[i] })
		}
		at := p.Start.Add(16*time.Hour + upTo(rng, span)).Truncate(time.Minute)
		p.Actions = append(p.Actions, Action{At: at.Add(37 * time.Second), Kind: bag[0], Seed: rng.Uint64()})
		bag = bag[1:]
	}
}

// Seed is what SIMULATION_SEED says, or else usual.
func Seed(t testing.TB, usual uint64) uint64 {
	t.Helper()
	text := os.Getenv("SIMULATION_SEED")
	if text == "" {
		return usual
	}
	seed, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("SIMULATION_SEED: %v", err)
	}
	return seed
}

// upTo draws a duration below most.
func upTo(rng *rand.Rand, most time.Duration) time.Duration {
	return time.Duration(rng.Int64N(int64(most)))
}
