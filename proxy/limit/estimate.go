package limit

import (
	"maps"
	"math"
	"sync"
	"sync/atomic"
)

// Estimator says how many tokens a request will be: of its prompt by its bytes and what a token of the model has been so far, of its answer by how long nine of ten answers of the
// same route and class were. It learns from what providers count. It is made by NewEstimator. Reading takes no lock.
type Estimator struct {
	mu      sync.Mutex // of those who add to the maps
	models  atomic.Pointer[map[ID]*ratio]
	outputs atomic.Pointer[map[outputKey]*lengths]
	anyIn   *ratio // of all models, for those that are new and those beyond maxLearned
	anyOut  *lengths
	guessed *ratio // tokens that were guessed in prompts, by those that were counted
}

type outputKey struct {
	route ID
	class int
}

const (
	// maxLearned is how many models, and how many routes with classes, are kept apart.
	maxLearned = 2048
	// firstRatio is bytes in a token before anything was counted: English prose has about so many.
	firstRatio = 4.
	// firstOutput is the length of an answer before any was counted.
	firstOutput = 1000
	// minRatio and maxRatio bound what is believed of one request: what is beyond was not text.
	minRatio, maxRatio = .5, 40.
	// ratioMemory is over how many requests ratios are learned.
	ratioMemory = 300
	// minRatios and minLengths are how many have to be counted before one model or class is believed by itself.
	minRatios, minLengths = 5, 30
	// outputShare of answers are not longer than is said.
	outputShare = .9
)

// NewEstimator makes an estimator that has learned nothing.
func NewEstimator() *Estimator {
	e := &Estimator{anyIn: &ratio{}, anyOut: &lengths{}, guessed: &ratio{}}
	e.models.Store(&map[ID]*ratio{})
	e.outputs.Store(&map[outputKey]*lengths{})
	return e
}

// Input is how many tokens a prompt of so many bytes of text is thought to have with a model.
func (e *Estimator) Input(model ID, bytes int64) int64 {
	perToken := e.anyIn.get(firstRatio)
	if r := (*e.models.Load())[model]; r != nil {
		perToken = r.get(perToken)
	}
	return int64(math.Ceil(float64(max(bytes, 0)) / perToken))
}

// Output is how many tokens an answer is thought not to exceed, where the request allows for so many (0: it does not say). known tells whether enough answers of the route and class were
// counted for that to be their own, or their own are not kept apart, as there are too many.
func (e *Estimator) Output(route ID, class int, most int64) (n int64, known bool) {
	n = e.anyOut.get(firstOutput)
	outputs := *e.outputs.Load()
	l := outputs[outputKey{route, class}]
	switch {
	case l == nil:
		known = len(outputs) >= maxLearned
	case l.value.Load() > 0:
		n, known = l.get(n), true
	}
	if most > 0 {
		n = min(n, most)
	}
	return n, known
}

// LearnInput takes in how many tokens the provider counted in a prompt, those from its cache included.
func (e *Estimator) LearnInput(model ID, bytes, tokens int64) {
	if bytes <= 0 || tokens <= 0 || float64(bytes) < minRatio*float64(tokens) || float64(bytes) > maxRatio*float64(tokens) {
		return
	}
	e.guessed.learn(e.Input(model, bytes), tokens)
	e.anyIn.learn(bytes, tokens)
	if r := entryOf(e, &e.models, model); r != nil {
		r.learn(bytes, tokens)
	}
}

// Bias is by which share of them prompts were guessed too long of late, all models together; below 0: too short.
func (e *Estimator) Bias() float64 { return e.guessed.get(1) - 1 }

// LearnOutput takes in how long a whole answer was. One that was cut by the request's own limit is longer than it looks: it is not to be learned from unless that is
// usual, as the estimate is capped by that limit anyway.
func (e *Estimator) LearnOutput(route ID, class int, tokens int64) {
	if tokens < 0 {
		return
	}
	e.anyOut.learn(tokens)
	if l := entryOf(e, &e.outputs, outputKey{route, class}); l != nil {
		l.learn(tokens)
	}
}

// entryOf finds or makes what is learned for a key; nil where there are too many.
func entryOf[K comparable, V any](e *Estimator, all *atomic.Pointer[map[K]*V], key K) *V {
	if v := (*all.Load())[key]; v != nil {
		return v
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	known := *all.Load()
	if v := known[key]; v != nil || len(known) >= maxLearned {
		return v
	}
	next, v := maps.Clone(known), new(V)
	next[key] = v
	all.Store(&next)
	return v
}

// ratio learns how many bytes a token has: all bytes of late by all tokens of late, so that sums are right whatever single requests are.
type ratio struct {
	mu            sync.Mutex
	n             int
	bytes, tokens float64
	value         atomic.Uint64 // bits; 0: not known
}

func (r *ratio) get(otherwise float64) float64 {
	if v := r.value.Load(); v != 0 {
		return math.Float64frombits(v)
	}
	return otherwise
}

func (r *ratio) learn(bytes, tokens int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	keep := 1 - 1./ratioMemory
	r.bytes, r.tokens = r.bytes*keep+float64(bytes), r.tokens*keep+float64(tokens)
	if r.n++; r.n >= minRatios {
		r.value.Store(math.Float64bits(r.bytes / r.tokens))
	}
}

const (
	lengthBins   = 16 * 21 // a sixteenth of an octave each, from 1 token on
	lengthMemory = 2048    // answers; then their weights halve
	lengthRenew  = 16
)

// lengths is a histogram of the lengths of answers that forgets.
type lengths struct {
	mu    sync.Mutex
	bins  [lengthBins]uint32
	total uint32
	n     int
	value atomic.Int64 // below which outputShare of them are, plus 1; 0: not known
}

func (l *lengths) get(otherwise int64) int64 {
	if v := l.value.Load(); v > 0 {
		return v - 1
	}
	return otherwise
}

func (l *lengths) learn(tokens int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := min(int(16*math.Log2(float64(tokens)+1)), lengthBins-1)
	l.bins[i]++
	l.total++
	l.n++
	if l.total >= lengthMemory {
		l.total = 0
		for i := range l.bins {
			l.bins[i] /= 2
			l.total += l.bins[i]
		}
	}
	if l.n >= minLengths && (l.n%lengthRenew == 0 || l.n == minLengths) {
		l.value.Store(l.quantile(outputShare) + 1)
	}
}

// quantile is interpolated within its bin. l.mu is held.
func (l *lengths) quantile(p float64) int64 {
	left := p * float64(l.total)
	for i, n := range l.bins {
		if left -= float64(n); left <= 0 {
			return int64(math.Round(math.Exp2((float64(i)+1+left/float64(max(n, 1)))/16) - 1))
		}
	}
	return int64(math.Exp2(lengthBins / 16.))
}
