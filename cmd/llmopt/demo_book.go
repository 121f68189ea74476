package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"llm-auto-optimizer/analysis/window"
	"llm-auto-optimizer/optimizer/control/controlpb"
	"llm-auto-optimizer/proxy/policy"
)

// demoBook keeps account of the demo's exchanges by the lines of the gateway's access log. It is safe for concurrent use.
type demoBook struct {
	mu      sync.Mutex
	lines   int64
	all     map[string]*demoSums // by target
	recent  []demoEntry          // of the route, the last recentLines at most
	prices  []demoTariff         // in the order of time
	trouble []demoTrouble
	tokens  []demoTokenSums // by tariff
	kept    *demoKept       // of the route that keeps its answers, on which nothing else is about
	shared  demoAccounts    // of the route that two callers share, on which nothing else is either
}

func newDemoBook(asked []demoQuestions) *demoBook { return &demoBook{kept: newDemoKept(asked)} }

// demoEntry is what the book reads of a line of the access log.
type demoEntry struct {
	Time       int64   `json:"time"` // Unix milliseconds, of the begin
	Route      string  `json:"route"`
	Target     string  `json:"target"`
	Outcome    string  `json:"outcome"`
	TTFT       float64 `json:"ttft_s"` // 0: none
	Duration   float64 `json:"duration_s"`
	Input      int64   `json:"tokens_input"`
	CacheRead  int64   `json:"tokens_cache_read"`
	CacheWrite int64   `json:"tokens_cache_write"`
	Output     int64   `json:"tokens_output"`
	Cost       int64   `json:"cost_nanousd"`
	Class      string  `json:"class"`
	Arm        string  `json:"arm"`
	Cache      string  `json:"cache"`
	Age        float64 `json:"cache_age_s"`
	Saved      int64   `json:"saved_nanousd"`
	CallerName string  `json:"caller_name"`
	Queued     float64 `json:"queued_s"`
	Limit      string  `json:"limit"` // of ours, that turned it away
	Error      string  `json:"error"`
}

func (l *demoEntry) ended() time.Time {
	return time.UnixMilli(l.Time).Add(time.Duration(l.Duration * float64(time.Second)))
}

// demoSums are of exchanges of the route.
type demoSums struct{ exchanges, streams, late, cost int64 }

type demoTokenSums struct{ input, output int64 }

// demoTariff are the prices from a time on, by provider.
type demoTariff struct {
	from   time.Time
	prices map[string]demoPrice
}

// demoTrouble is a time in which a provider did not work as it should.
type demoTrouble struct {
	provider, what string
	from, to       time.Time // to is zero while it goes on
	met            int64     // exchanges that began meanwhile, wherever they went
}

const (
	recentLines = 4096
	recentFor   = 8 * time.Second // of the table's columns that say how it is now
)

// Write takes lines of the access log, whole ones.
func (b *demoBook) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for line := range bytes.Lines(p) {
		var l demoEntry
		if err := json.Unmarshal(line, &l); err != nil {
			return 0, err
		}
		switch l.Route {
		case demoCached:
			b.kept.add(&l)
			continue
		case demoShared:
			b.shared.add(&l)
			continue
		case demoRoute:
			b.add(&l)
		}
		b.lines++
	}
	return len(p), nil
}

func (b *demoBook) add(l *demoEntry) {
	if b.all == nil {
		b.all = map[string]*demoSums{}
	}
	s := b.all[l.Target]
	if s == nil {
		s = &demoSums{}
		b.all[l.Target] = s
	}
	s.exchanges++
	s.cost += l.Cost
	if l.TTFT > 0 {
		s.streams++
		if l.TTFT > demoObjective.Seconds() {
			s.late++
		}
	}
	if len(b.recent) == recentLines {
		b.recent = slices.Delete(b.recent, 0, recentLines/2)
	}
	b.recent = append(b.recent, *l)
	for i := len(b.prices) - 1; i >= 0; i-- {
		if i == 0 || !l.ended().Before(b.prices[i].from) {
			b.tokens[i].input += l.Input + l.CacheRead + l.CacheWrite
			b.tokens[i].output += l.Output
			break
		}
	}
	began := time.UnixMilli(l.Time)
	for i := range b.trouble {
		if o := &b.trouble[i]; !began.Before(o.from) && (o.to.IsZero() || began.Before(o.to)) {
			o.met++
		}
	}
}

// price notes the prices that hold from now on.
func (b *demoBook) price(now time.Time, providers []*demoProvider) {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := demoTariff{now, map[string]demoPrice{}}
	for _, p := range providers {
		t.prices[p.name] = p.price
	}
	b.prices, b.tokens = append(b.prices, t), append(b.tokens, demoTokenSums{})
}

// begin notes that a provider does not work as it should from now on.
func (b *demoBook) begin(now time.Time, provider, what string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.trouble = append(b.trouble, demoTrouble{provider: provider, what: what, from: now})
}

// end notes that a provider works again.
func (b *demoBook) end(now time.Time, provider string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.trouble {
		if o := &b.trouble[i]; o.provider == provider && o.to.IsZero() {
			o.to = now
		}
	}
}

// exchanges is how many there have been, of the route or not, but for the other two routes.
func (b *demoBook) exchanges() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.lines
}

// inForce notes for how many seconds answers live, by class.
func (b *demoBook) inForce(now time.Time, clock string, ttls [policy.Classes]float64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.kept.inForce(now, clock, ttls)
}

// keeps is how the route stands that keeps its answers.
func (b *demoBook) keeps(now time.Time) *demoKeptState {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.kept.state(now)
}

// shares is how the callers fare of the shared route, of how many requests that is, and how many of these their client left.
func (b *demoBook) shares(now, started time.Time) (callers []demoCaller, requests, left int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.shared.state(now, started), b.shared.lines, b.shared.left
}

// part notes that a part of the shared route's day begins or ends.
func (b *demoBook) part(now time.Time, name, clock string, begins bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if begins {
		b.shared.begin(now, name, clock)
		return
	}
	b.shared.end(now, name, clock)
}

// demoTarget is how a target of the route stands.
type demoTarget struct {
	Name      string  `json:"name"`
	Price     string  `json:"price"`     // per million tokens, input/output
	State     string  `json:"state"`     // as llmopt targets has it
	Share     float64 `json:"share"`     // that it is to have
	Got       float64 `json:"got"`       // share of the last seconds' exchanges
	Exchanges int64   `json:"exchanges"` // that it has answered
	Late      float64 `json:"late"`      // share of its streams later than the objective
	TTFT      float64 `json:"ttft_p50_seconds"`
	Attempts  int64   `json:"attempts"`
	Errors    int64   `json:"errors"` // attempts that failed
	Cost      int64   `json:"cost_nanousd"`
	Ejections uint64  `json:"ejections"`
}

// targets are those of the route, in the order of the providers.
func (b *demoBook) targets(s *demoStage, st *controlpb.GetStatusResponse) []demoTarget {
	b.mu.Lock()
	defer b.mu.Unlock()
	got, ttft, total := b.lately()
	weights, sum := s.gateway.policy.Load().Routes[demoRoute].Targets, 0.
	for _, w := range weights {
		sum += w.Weights[0]
	}
	out := make([]demoTarget, 0, len(s.providers))
	for _, p := range s.providers {
		t := demoTarget{Name: p.name, Price: p.price.String(), Got: got[p.name] / max(total, 1)}
		if live := s.gateway.proxy.Target(demoRoute, p.name); live != nil {
			now := live.Status(time.Now())
			t.State, t.Ejections = now.State.String(), now.Ejections
		}
		if sum > 0 {
			t.Share = weights[p.name].Weights[0] / sum
		}
		if all := b.all[p.name]; all != nil {
			t.Exchanges, t.Cost, t.Late = all.exchanges, all.cost, float64(all.late)/max(float64(all.streams), 1)
		}
		if first := ttft[p.name]; len(first) > 0 {
			slices.Sort(first)
			t.TTFT = first[len(first)/2]
		}
		for _, seen := range st.GetTargets() {
			if seen.GetTarget() == demoRoute+"/"+p.name {
				t.Attempts, t.Errors = seen.GetSummary().GetRequests(), seen.GetSummary().GetErrors()
			}
		}
		out = append(out, t)
	}
	return out
}

// lately are the exchanges of the last seconds by target, and the times to their first tokens.
func (b *demoBook) lately() (got map[string]float64, ttft map[string][]float64, total float64) {
	got, ttft = map[string]float64{}, map[string][]float64{}
	from := time.Now().Add(-recentFor)
	for i := len(b.recent) - 1; i >= 0; i-- {
		l := &b.recent[i]
		if l.ended().Before(from) {
			continue
		}
		got[l.Target]++
		total++
		if l.TTFT > 0 {
			ttft[l.Target] = append(ttft[l.Target], l.TTFT)
		}
	}
	return got, ttft, total
}

// demoStatic is what the exchanges would have cost under a policy that never changes: computed from their tokens, at the prices in force when they ended.
type demoStatic struct {
	Policy  string   `json:"policy"`
	Cost    float64  `json:"cost_usd"`
	Late    float64  `json:"late"`              // share of the streams of these providers that were, when they served
	Trouble []string `json:"trouble,omitempty"` // that the only provider had
}

// statics computes the policies of all on one provider and of equal shares, which is how the route is configured.
func (b *demoBook) statics(providers []*demoProvider) []demoStatic {
	b.mu.Lock()
	defer b.mu.Unlock()
	equal := demoStatic{Policy: "equal shares, as configured"}
	var out []demoStatic
	for _, p := range providers {
		one := demoStatic{Policy: "all on " + p.name}
		for i, t := range b.tokens {
			price := b.prices[i].prices[p.name]
			one.Cost += (float64(t.input)*price.input + float64(t.output)*price.output) / 1e6
		}
		if all := b.all[p.name]; all != nil {
			one.Late = float64(all.late) / max(float64(all.streams), 1)
		}
		for _, o := range b.trouble {
			if o.provider == p.name {
				one.Trouble = append(one.Trouble, fmt.Sprintf("%d requests came while it %s", o.met, o.what))
			}
		}
		n := float64(len(providers))
		equal.Cost, equal.Late = equal.Cost+one.Cost/n, equal.Late+one.Late/n
		out = append(out, one)
	}
	return append([]demoStatic{equal}, out...)
}

// spent is what the exchanges of the route have cost, and how many of its streams were late.
func (b *demoBook) spent() (usd, late float64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var sum demoSums
	for s := range maps.Values(b.all) {
		sum.cost, sum.late, sum.streams = sum.cost+s.cost, sum.late+s.late, sum.streams+s.streams
	}
	return float64(sum.cost) / 1e9, float64(sum.late) / max(float64(sum.streams), 1)
}

// fruitless is how many of the load's requests came to nothing, but for those whose client left.
func fruitless(st *demoState) (n int64) {
	for o, c := range st.load.Outcomes {
		if o != int(window.OK) && o != int(window.Canceled) {
			n += c
		}
	}
	return n
}
