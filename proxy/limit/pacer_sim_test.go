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
	burst  float64       // share of the limit that the bucket holds; 0: all of it
	of     float64       // part of 100 requests a second; 0: all. Phases are the longer
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
		h.level = min(h.level+h.limit*now.Sub(h.last).Seconds()/h.period.Seconds(), h.holds())
		h.last = now
	}
	if h.level < 1 {
		return false
	}
	h.level--
	return true
}

func (h *hidden) holds() float64 {
	if h.burst == 0 {
		return h.limit
	}
	return max(h.burst*h.limit, 1)
}

// headers tells what is left when a request was let through, as OpenAI spells it. They are read when the answer begins, and times in them count from then.
func (h *hidden) headers(to *Headers, now, read time.Time) {
	to.Reset()
	reset := time.Duration((h.holds() - h.level) / h.limit * float64(h.period))
	if h.fixed {
		reset = h.last.Add(h.period).Sub(now)
	}
	to.Add([]byte("x-ratelimit-limit-requests"), fmt.Append(nil, int(h.holds())), read)
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

// simulate sends Poisson arrivals at 1.5 times the limit, which goes 100, 60, 100 requests a second; each phase lasts a minute. Answers take ttft to begin, refusals a tenth. Who
// has to wait does so in a queue of two seconds, or goes elsewhere.
func simulate(p *hidden, told, queue bool, ttft time.Duration, seed uint64) (r result) {
	start := time.Unix(1_000_000_000, 0)
	now, draw, pacer := start, rand.New(rand.NewPCG(seed, 9)), NewPacer(start)
	p.last = start
	var pending answers
	scale := p.period.Seconds()
	of, phase := p.of, time.Minute
	if of == 0 {
		of = 1
	} else {
		phase = time.Duration(.2 / of * float64(time.Minute))
	}
	p.limit = 100 * of * scale
	p.level = p.holds()
	arrival, try, waiting := start, time.Time{}, 0
	for end := start.Add(3 * phase); now.Before(end); {
		rate := of * [...]float64{100, 60, 100}[min(now.Sub(start)/phase, 2)]
		p.limit = rate * scale
		p.level = min(p.level, p.holds())
		next := arrival
		if waiting > 0 && try.Before(next) {
			next = try
		}
		if len(pending) > 0 && pending[0].at.Before(next) {
			a := heap.Pop(&pending).(answer)
			r.capacity += rate * max(a.at.Sub(now), 0).Seconds()
			now = a.at
			v := Through
			if !a.through {
				v = Limited
			}
			pacer.Answered(now, a.sent, v, a.headers, 0, draw.Float64())
			continue
		}
		r.capacity += rate * max(next.Sub(now), 0).Seconds()
		now = next
		if arrival.Equal(now) {
			arrival = now.Add(time.Duration(draw.ExpFloat64() / (1.5 * rate) * float64(time.Second)))
			if waiting < max(int(2*rate), 2) {
				waiting++
			}
		}
		sent, wait := pacer.Take(now, Need{Input: 1000, Output: 100}, DefaultShare)
		if wait > 0 {
			if try = now.Add(wait); !queue {
				waiting = 0
			}
			continue
		}
		waiting--
		try = now
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

// A limit that is lowered and raised is used to 97 %, and hardly ever run into: by headers .05 % of what is sent at most, without .3 %. That is demanded of a bucket that holds a
// second's requests or more. The others show what is hard: windows that end before their headers are read, and fixed windows that nobody tells of, which refuse all until they end.
func TestPacer_HiddenLimit(t *testing.T) {
	if raceEnabled {
		t.Skip("one goroutine: there is nothing to race")
	}
	t.Parallel()
	const seeds = uint64(8)
	check := func(h hidden, told, queue bool, ttft time.Duration, used, refused float64) {
		t.Helper()
		var sum result
		for seed := range seeds {
			p := h
			r := simulate(&p, told, queue, ttft, seed)
			sum.sent, sum.through, sum.capacity = sum.sent+r.sent, sum.through+r.through, sum.capacity+r.capacity
		}
		t.Logf("headers %-5v queue %-5v %-6v of %-4v first token after %-5v: %6.2f %% of the limit used, %.3f %% refused",
			told, queue, map[bool]string{false: "bucket", true: "window"}[h.fixed], h.period, ttft, sum.used()*100, sum.refused()*100)
		if sum.used() < used || sum.refused() > refused {
			t.Errorf("%+v: %.2f %% used, %.3f %% refused; want %v and %v", h, sum.used()*100, sum.refused()*100, used*100, refused*100)
		}
	}
	second, minute, tenth := hidden{period: time.Second}, hidden{period: time.Minute, burst: .1}, hidden{period: time.Second, burst: .1}
	fixedSecond, fixedMinute := hidden{period: time.Second, fixed: true}, hidden{period: time.Minute, fixed: true}
	for _, ttft := range []time.Duration{100 * time.Millisecond, 400 * time.Millisecond, time.Second} {
		for _, queue := range []bool{true, false} {
			check(second, true, queue, ttft, .97, .0005)
			check(second, false, queue, ttft, .97, .003)
		}
		check(minute, true, true, ttft, .97, .0005)
		check(fixedMinute, true, true, ttft, .97, .0005)
	}
	check(minute, false, true, 400*time.Millisecond, .97, .003)
	check(fixedMinute, false, true, 400*time.Millisecond, .97, .004)
	check(fixedSecond, true, true, 100*time.Millisecond, .97, .0005)
	check(fixedSecond, true, true, 400*time.Millisecond, .96, .0005)
	check(fixedSecond, true, true, time.Second, .95, .001)
	check(fixedSecond, false, true, 400*time.Millisecond, .92, .005)
	for _, ttft := range []time.Duration{100 * time.Millisecond, 400 * time.Millisecond} {
		check(tenth, true, true, ttft, .95, .001)
		check(tenth, false, true, ttft, .95, .003)
	}
}

// A limit of few requests is found as well; one refusal is as much of them as many of more, so it is tried less often whether there are more. Two a second are what many a key has.
func TestPacer_HiddenLimitOfFew(t *testing.T) {
	if raceEnabled {
		t.Skip("one goroutine: there is nothing to race")
	}
	t.Parallel()
	for _, p := range []hidden{{period: time.Minute, burst: .1, of: .02}, {period: time.Minute, fixed: true, of: .02}, {period: time.Second, of: .1}} {
		var sum result
		for seed := range uint64(4) {
			p := p
			r := simulate(&p, false, true, 400*time.Millisecond, seed)
			sum.sent, sum.through, sum.capacity = sum.sent+r.sent, sum.through+r.through, sum.capacity+r.capacity
		}
		t.Logf("%.0f a second by %v, windows %v: %.1f %% used, %.2f %% refused", p.of*100, p.period, p.fixed, sum.used()*100, sum.refused()*100)
		if sum.used() < .88 || sum.refused() > .06 {
			t.Errorf("%+v: %.1f %% used, %.2f %% refused", p, sum.used()*100, sum.refused()*100)
		}
	}
}
