package window

// Counters of a slot: outcomes first, then these.
const (
	countInput = int(outcomesEnd) + iota
	countCacheRead
	countCacheWrite
	countOutput
	countReasoning
	countEstimated
	countUnpriced
	countSums   // the sums of the measures, in their order
	countersEnd = countSums + measuresEnd
)

// Measures: what a slot has a histogram of.
const (
	latency = iota
	ttft
	tpot
	cost
	measuresEnd
)

// tally is a slot, or a merge of slots, in plain numbers. The sums stand in its distributions, their counters stay zero.
type tally struct {
	counts [countSums]uint64
	dists  [measuresEnd]Distribution
}

func (t *tally) merge(o *tally) {
	for i, n := range o.counts {
		t.counts[i] += n
	}
	for m := range o.dists {
		t.dists[m].Merge(&o.dists[m])
	}
}

// empty says whether t holds nothing at all, not even a part of an observation that is being recorded.
func (t *tally) empty() bool {
	for _, n := range t.counts {
		if n != 0 {
			return false
		}
	}
	for m := range t.dists {
		if t.dists[m].count != 0 || t.dists[m].sum != 0 {
			return false
		}
	}
	return true
}

func (t *tally) reset() {
	t.counts = [countSums]uint64{}
	for m := range t.dists {
		t.dists[m].reset()
	}
}
