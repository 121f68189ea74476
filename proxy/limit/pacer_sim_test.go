package limit

import (
	"container/heap"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// hidden is a simulated provider with a limit of requests that nobody is told but by its headers.
type hidden struct {
	limit  float64       // in each period
	period time.Duration // by which it is counted
	fixed  bool          // in fixed windows; else a bucket that fills up evenly
	level  float64
	last   time.Time
}

// ask counts a request and tells whether it is let through.
func (h *hidden) ask(now time.Time) bool {
	if h.fixed {
		if begin := now.Truncate(h.period); begin.After(h.last) || h.last.IsZero() {
			h.level, h.last = h.limit, begin
		}
	} else {
		h.level = min(h.level+h.limit*now.Sub(h.last).Seconds()/h.period.Seconds(), h.limit)
		h.last = now
	}
	if h.level < 1 {
		return false
	}
	h.level--
	return true
}

// headers tells what is left when a request was let through, as OpenAI spells it. They are read when the answer begins, and times in them count from then.
func (h *hidden) headers(to *Headers, now, read time.Time) {
	to.Reset()
	reset := time.Duration((h.limit - h.level) / h.limit * float64(h.period))
	if h.fixed {
		reset = h.last.Add(h.period).Sub(now)
	}
	to.Add([]byte("x-ratelimit-limit-requests"), fmt.Append(nil, int(h.limit)), read)
	to.Add([]byte("x-ratelimit-remaining-requests"), fmt.Append(nil, int(h.level)), read)
	to.Add([]byte("x-ratelimit-reset-requests"), fmt.Append(nil, reset.Round(time.Millisecond)), read)
}

type answer struct {
	at      time.Time
	sent    Sent
	through bool
	headers *Headers
}

type answers []answer

func (a answers) Len() int           { return len(a) }
func (a answers) Less(i, j int) bool { return a[i].at.Before(a[j].at) }
func (a answers) Swap(i, j int)      { a[i], a[j] = a[j], a[i] }
func (a *answers) Push(x any)        { *a = append(*a, x.(answer)) }
func (a *answers) Pop() any {
	last := (*a)[len(*a)-1]
	*a = (*a)[:len(*a)-1]
	return last
}

// result of a simulation.
type result struct {
	sent, through int
	capacity      float64 // that the limit allowed
}

func (r result) used() float64    { return float64(r.through) / r.capacity }
func (r result) refused() float64 { return float64(r.sent-r.through) / float64(r.sent) }

// simulate sends Poisson arrivals at 1.5 times the limit, which goes 100, 60, 100 requests a second; each phase lasts a minute. Answers take ttft to begin, refusals a tenth.
func simulate(p *hidden, told bool, ttft time.Duration, seed uint64) (r result) {
	start := time.Unix(1_000_000_000, 0)
	now, draw, pacer := start, rand.New(rand.NewPCG(seed, 9)), NewPacer(start)
	p.last = start
	var pending answers
	scale := p.period.Seconds()
	p.limit, p.level = 100*scale, 100*scale
	const phase = time.Minute
	for end := start.Add(3 * phase); now.Before(end); {
		rate := [...]float64{100, 60, 100}[min(now.Sub(start)/phase, 2)]
		if p.limit = rate * scale; p.level > p.limit {
			p.level = p.limit
		}
		step := time.Duration(draw.ExpFloat64() / (1.5 * rate) * float64(time.Second))
		for len(pending) > 0 && pending[0].at.Before(now.Add(step)) {
			a := heap.Pop(&pending).(answer)
			v := Through
			if !a.through {
				v = Limited
			}
			pacer.Answered(a.at, a.sent, v, a.headers, 0, draw.Float64())
		}
		now = now.Add(step)
		r.capacity += rate * step.Seconds()
		sent, wait := pacer.Take(now, 1000, 100)
		if wait > 0 {
			continue
		}
		r.sent++
		a := answer{sent: sent, through: p.ask(now)}
		took := time.Duration(float64(ttft) * math.Exp(draw.NormFloat64()*.4))
		if a.through {
			r.through++
		} else {
			took /= 10
		}
		if told {
			a.headers = &Headers{}
			p.headers(a.headers, now, now.Add(took))
		}
		a.at = now.Add(took)
		heap.Push(&pending, a)
	}
	return r
}

// A limit that is lowered and raised is used to 97 %, and hardly ever run into, with headers and without. A bucket that holds a second's requests is what is demanded; fixed windows
// are harder: the room of their last moments is lost where nobody tells, and headers that take as long as the window are worth little.
func TestPacer_HiddenLimit(t *testing.T) {
	t.Parallel()
	check := func(told, fixed bool, period, ttft time.Duration, used, refused float64) {
		t.Helper()
		var sum result
		for seed := range uint64(8) {
			r := simulate(&hidden{period: period, fixed: fixed}, told, ttft, seed)
			sum.sent, sum.through, sum.capacity = sum.sent+r.sent, sum.through+r.through, sum.capacity+r.capacity
		}
		t.Logf("headers %-5v fixed windows %-5v of %-4v first token after %-5v: %6.2f %% of the limit used, %.3f %% refused", told, fixed, period, ttft, sum.used()*100, sum.refused()*100)
		if sum.used() < used || sum.refused() > refused {
			t.Errorf("%.2f %% of the limit used, %.3f %% refused; want %v and %v", sum.used()*100, sum.refused()*100, used*100, refused*100)
		}
	}
	for _, ttft := range []time.Duration{100 * time.Millisecond, 400 * time.Millisecond, time.Second} {
		check(true, false, time.Second, ttft, .97, .0005)
		check(true, true, time.Minute, ttft, .97, .0005)
		check(false, false, time.Second, ttft, .97, .003)
	}
	check(true, true, time.Second, 100*time.Millisecond, .97, .0005)
	check(true, true, time.Second, 400*time.Millisecond, .93, .0005)
	check(false, true, time.Second, 400*time.Millisecond, .8, .006)
}
