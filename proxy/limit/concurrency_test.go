package limit

import (
	"math/rand/v2"
	"testing"
)

// crowd plays rounds of attempts against a target that does well with up to room at a time and returns the mean limit of the last half.
func crowd(c *Concurrency, rounds, room int, sign func(flying int) (Sign, float64)) float64 {
	draw := rand.New(rand.NewPCG(1, 2))
	var flying []Start
	sum := 0
	for i := range rounds {
		for {
			s, ok := c.Begin()
			if !ok {
				break
			}
			flying = append(flying, s)
		}
		k := draw.IntN(len(flying))
		sign, ttft := sign(len(flying))
		c.End(flying[k], sign, ttft)
		flying = append(flying[:k], flying[k+1:]...)
		if limit, _ := c.Limit(); i >= rounds/2 {
			sum += limit
		}
	}
	for _, s := range flying {
		c.End(s, NoMatter, 0)
	}
	return float64(sum) / float64(rounds-rounds/2)
}

func TestConcurrency_AIMD(t *testing.T) {
	t.Parallel()
	for _, room := range []int{4, 50, 200} {
		c := NewConcurrency(ConcurrencyOptions{})
		got := crowd(c, 100_000, room, func(flying int) (Sign, float64) {
			if flying > room {
				return Crowded, 1
			}
			return Good, 1
		})
		if got < .85*float64(room) || got > 1.1*float64(room) {
			t.Errorf("room for %d: the limit is %.1f", room, got)
		}
		if _, flying := c.Limit(); flying != 0 {
			t.Errorf("%d under way", flying)
		}
	}
	c := NewConcurrency(ConcurrencyOptions{})
	if got := crowd(c, 1000, 0, func(int) (Sign, float64) { return Crowded, 1 }); got != leastConcurrent {
		t.Errorf("goes down to %v", got)
	}
	if got := crowd(NewConcurrency(ConcurrencyOptions{Most: 7}), 1000, 0, func(int) (Sign, float64) { return Good, 1 }); got != 7 {
		t.Errorf("goes up to %v", got)
	}
	if limit, _ := NewConcurrency(ConcurrencyOptions{Most: 1}).Limit(); limit != 1 {
		t.Errorf("the operator's bound of 1 is %d", limit)
	}
}

// A limit that nobody uses does not grow, and one burst of refusals is one sign.
func TestConcurrency_OnlyWhatIsUsed(t *testing.T) {
	t.Parallel()
	c := NewConcurrency(ConcurrencyOptions{})
	for range 1000 {
		s, _ := c.Begin()
		c.End(s, Good, 1)
	}
	if limit, _ := c.Limit(); limit != firstConcurrent {
		t.Errorf("grew to %d with one at a time", limit)
	}
	var all []Start
	for range firstConcurrent {
		s, _ := c.Begin()
		all = append(all, s)
	}
	for _, s := range all {
		c.End(s, Crowded, 0)
	}
	if limit, _ := c.Limit(); limit != 18 {
		t.Errorf("%d after one burst of refusals", limit)
	}
}

// What is open lets all through until there are signs of a crowd, and goes on from what was under way then.
func TestConcurrency_Open(t *testing.T) {
	t.Parallel()
	c := NewConcurrency(ConcurrencyOptions{Open: true})
	begin := func(want bool) Start {
		t.Helper()
		s, ok := c.Begin()
		if ok != want {
			t.Errorf("let through: %v", ok)
		}
		return s
	}
	all := []Start{}
	for range 200 {
		all = append(all, begin(true))
	}
	c.End(begin(true), Good, 1)
	if limit, flying := c.Limit(); limit != 0 || flying != 200 {
		t.Errorf("%d of %d without a sign", flying, limit)
	}
	c.End(all[0], Crowded, 0)
	if limit, _ := c.Limit(); limit != 180 {
		t.Errorf("%d after the first", limit)
	}
	begin(false)
	c.Use(ConcurrencyOptions{Open: true, Most: 50})
	if limit, _ := c.Limit(); limit != 50 {
		t.Errorf("%d with a bound of 50", limit)
	}

	c = NewConcurrency(ConcurrencyOptions{Gradient: true, Open: true})
	var flying []Start
	for i := range 30_000 { // more and more want in, and there is a queue from 40 on
		for len(flying) < 1+i/100 {
			s, ok := c.Begin()
			if !ok {
				break
			}
			flying = append(flying, s)
		}
		c.End(flying[0], Good, max(1, float64(len(flying))/40))
		flying = flying[1:]
	}
	if limit, _ := c.Limit(); limit < 35 || limit > 150 {
		t.Errorf("the limit is %d where times grow from 40 on", limit)
	}
}

// Times that grow with the load keep the limit near where they begin to; nothing has to fail for it.
func TestConcurrency_Gradient(t *testing.T) {
	t.Parallel()
	draw := rand.New(rand.NewPCG(3, 4))
	c := NewConcurrency(ConcurrencyOptions{Gradient: true, Most: 1000})
	got := crowd(c, 100_000, 0, func(flying int) (Sign, float64) {
		return Good, max(1, float64(flying)/40) * (.8 + .4*draw.Float64()) // a queue from 40 on
	})
	if got < 35 || got > 150 {
		t.Errorf("the limit is %.1f where times grow from 40 on", got)
	}
	t.Logf("times grow from 40 on: the limit is %.1f", got)
}

func BenchmarkConcurrency(b *testing.B) {
	c := NewConcurrency(ConcurrencyOptions{Gradient: true})
	b.ReportAllocs()
	for b.Loop() {
		s, _ := c.Begin()
		c.End(s, Good, 1)
	}
}
