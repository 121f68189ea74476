package simulate

import (
	"container/heap"
	"math/rand/v2"
	"time"

	"llm-auto-optimizer/bench/load"
	"llm-auto-optimizer/proxy/pick"
	"llm-auto-optimizer/proxy/policy"
)

// Affinity is what prompt caches of replicas hit, with and without prefix affinity, beside one cache that all share.
type Affinity struct {
	Requests, Blocks int
	Shared           float64 // part of the blocks that one cache would hit
	Spread           float64 // the same of replicas without affinity
	Affine           float64 // and with it
	MaxLoad          float64 // tokens at the busiest replica with affinity, over the mean
	MaxInFlight      float64 // mean attempts under way at the busiest, over the mean of all
}

// PrefixAffinity replays a trace that names its prefix blocks (Mooncake's) over replicas whose caches forget nothing.
func PrefixAffinity(path string, replicas int) (*Affinity, error) {
	trace, err := load.OpenTrace(path, "", 1)
	if err != nil {
		return nil, err
	}
	var a Affinity
	shared := map[uint64]bool{}
	count := func(cache map[uint64]bool, blocks []uint64) (hits float64) {
		for i, b := range blocks { // a prefix: what follows a miss is one too
			if !cache[b] {
				for _, b := range blocks[i:] {
					cache[b] = true
				}
				return float64(i)
			}
		}
		return float64(len(blocks))
	}
	spread, affine := newReplicas(replicas, false), newReplicas(replicas, true)
	for r := range trace.Arrivals(0, 1) {
		a.Requests++
		a.Blocks += len(r.Blocks)
		a.Shared += count(shared, r.Blocks)
		a.Spread += count(spread.cache(&r, pick.Prefix{}), r.Blocks)
		a.Affine += count(affine.cache(&r, prefixOf(r.Blocks)), r.Blocks)
	}
	n := float64(max(a.Blocks, 1))
	a.Shared, a.Spread, a.Affine = a.Shared/n, a.Spread/n, a.Affine/n
	a.MaxLoad, a.MaxInFlight = worst(affine.tokens), worst(affine.busy)
	return &a, trace.Err()
}

func worst(values []float64) float64 {
	sum, most := 0., 0.
	for _, v := range values {
		sum, most = sum+v, max(most, v)
	}
	return most / max(sum/float64(len(values)), 1e-9)
}

// replicas are equal targets of a route in virtual time.
type replicas struct {
	route  *pick.Route
	policy *policy.Snapshot
	caches []map[uint64]bool
	tokens []float64
	busy   []float64 // seconds of attempts under way
	ends   endings
	draw   *rand.Rand
}

func newReplicas(n int, affinity bool) *replicas {
	spec := pick.Spec{Name: "r", Attempts: 1, Affinity: affinity, Exploration: pick.DefaultExploration, Ejection: pick.Ejection{Off: true}}
	route := policy.Route{Parameters: policy.Parameters{Targets: map[string]policy.Target{}}}
	r := &replicas{tokens: make([]float64, n), busy: make([]float64, n), draw: rand.New(rand.NewPCG(1, 2))}
	for i := range n {
		name := string(rune('a' + i))
		spec.Targets = append(spec.Targets, pick.TargetSpec{Name: name, Identity: name, Equal: "replica"})
		route.Targets[name] = policy.Target{Weights: [policy.Classes]float64{1, 1, 1}}
		r.caches = append(r.caches, map[uint64]bool{})
	}
	routes, err := pick.NewRoutes([]pick.Spec{spec}, nil, begin)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	r.route, r.policy = routes.Route("r"), &policy.Snapshot{Version: 1, Routes: map[string]policy.Route{"r": route}}
	return r
}

// ending is an attempt that ends.
type ending struct {
	at    time.Duration
	lease *pick.Lease
	took  time.Duration
}

type endings []ending

func (e endings) Len() int           { return len(e) }
func (e endings) Less(i, j int) bool { return e[i].at < e[j].at }
func (e endings) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }
func (e *endings) Push(x any)        { *e = append(*e, x.(ending)) } //nolint:forcetypeassert // nothing else is pushed
func (e *endings) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}

// cache is that of the replica that a request goes to.
func (r *replicas) cache(a *load.Arrival, p pick.Prefix) map[uint64]bool {
	const perInput, perOutput, first = 50 * time.Microsecond, 20 * time.Millisecond, 200 * time.Millisecond
	for len(r.ends) > 0 && r.ends[0].at <= a.At {
		e := heap.Pop(&r.ends).(ending) //nolint:forcetypeassert // nothing else is pushed
		e.lease.Settle(begin.Add(e.at), &pick.Result{Outcome: pick.Good, Took: e.took})
	}
	now := begin.Add(a.At)
	walk := r.route.Start(r.policy, pick.Query{Stream: true, Input: int64(a.Input), Prefix: p})
	defer walk.End()
	c, refusal := walk.First(now, r.draw.Uint64())
	if refusal != pick.NoRefusal {
		panic("BUG: a replica without bound refuses")
	}
	lease := c.Target.Begin(now, walk.Query())
	took := first + time.Duration(a.Input)*perInput
	whole := took + time.Duration(a.Output)*perOutput
	i := c.Target.Index()
	r.tokens[i] += float64(a.Input)
	r.busy[i] += whole.Seconds()
	heap.Push(&r.ends, ending{a.At + whole, &lease, took})
	return r.caches[i]
}
