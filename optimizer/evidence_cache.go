package optimizer

import (
	"cmp"
	"math"
	"slices"
	"time"

	"llm-auto-optimizer/analysis"
	"llm-auto-optimizer/analysis/ghost"
	"llm-auto-optimizer/proxy/policy"
)

// KnownCache is what the owner of the routes says of the answers of one in the cache.
type KnownCache struct {
	Memory  int64                    // bytes for the answers of all routes
	Used    int64                    // of it
	Held    int64                    // of that by the route
	Divided bool                     // the memory is all the room there is, so that it can be divided; else there is a disk
	Entry   float64                  // mean bytes of an answer; 0: not known
	Sizes   ghost.Curve              // what caches of other sizes would do
	TTLs    [classes]ghost.Curve     // and with other times to live, by class
	Hazards [classes]analysis.Hazard // how often answers change
	price   float64                  // of the memory: see CacheEvidence
	left    float64                  // the same
	sizes   []CacheSize              // the same
}

// CacheEvidence is what a cycle knows of a route's answers in the cache.
type CacheEvidence struct {
	Classes [classes]CacheClass `json:"classes"`
	Divided bool                `json:"divided"`         // memory is short, and can be divided
	Memory  float64             `json:"memory"`          // bytes for the answers of all routes
	Held    float64             `json:"held"`            // of it by this one
	Entry   float64             `json:"entry"`           // mean bytes of an answer; 0: not known
	Sizes   []CacheSize         `json:"sizes,omitempty"` // concave, rising
	Price   float64             `json:"price"`           // US dollars a second that a byte more would save where it saves most; 0: there is enough for all
	Left    float64             `json:"left"`            // bytes for whom a byte saves just that
}

// CacheClass is the same of a class.
type CacheClass struct {
	Curve    ghost.Curve `json:"curve"` // what other times to live would do; without points: too little has come
	Compared Compared    `json:"compared"`
	Young    Compared    `json:"young"`     // of them, at less than a quarter of the time to live in force, or than about a second
	Old      Compared    `json:"old"`       // at more than that
	Noise    float64     `json:"noise"`     // part of the answers that is another one each time, however young
	Change   float64     `json:"change_hz"` // most likely number of changes of an answer a second
	Upper    float64     `json:"upper_hz"`  // which it is below with 80 %
}

// Compared are answers that were fetched anew while the old one was at hand. Counts fade.
type Compared struct {
	All     float64 `json:"all"`
	Changed float64 `json:"changed"`
}

// CacheSize is what so many bytes would save.
type CacheSize struct {
	Bytes float64 `json:"bytes"`
	Saved float64 `json:"saved"` // US dollars a second
}

const (
	hazardConfidence = .8                      // as that of routing
	mostHazard       = 1e3                     // changes a second, in place of infinitely many
	youngAge         = .25                     // of the time to live, up to which an answer is young
	youngest         = 1200 * time.Millisecond // comparisons of answers that are younger can't be told apart by their ages
	leastYoung       = 10                      // comparisons of young answers, before changes of older ones can be told from noise
	shortFrom        = .9                      // part of the memory in use, from which on it is short
	stillShort       = .6                      // the same while limits keep some of it free
)

// hazardEstimate is what was last made of comparisons: with a hundred routes of three classes it is most of the work.
type hazardEstimate struct {
	of                   analysis.Hazard
	all                  float64 // comparisons in it
	at                   time.Time
	change, upper, noise float64
}

const (
	// estimateEvery is how often that is done, where there were new ones.
	estimateEvery = 5 * time.Minute
	// estimateGrown is by which part they must have become more for it to be done sooner: some eighty times until they are as many as are remembered.
	estimateGrown = .1
)

func (e *hazardEstimate) update(now time.Time, h *analysis.Hazard) {
	if *h == e.of {
		return
	}
	all, _ := h.Count()
	soon := now.After(e.at) && now.Sub(e.at) < estimateEvery
	if grown := all >= e.all*(1+estimateGrown); soon && !grown && all >= e.all/2 { // fewer: what the answers are about is something else now
		return
	}
	e.of, e.all, e.at = *h, all, now
	e.change, e.upper, e.noise, _ = h.EstimateNoisy(hazardConfidence)
	e.change, e.upper = min(e.change, mostHazard), min(e.upper, mostHazard)
}

// evidence is what is known now.
func (k *KnownCache) evidence(now time.Time, in *policy.Parameters, estimates *[classes]hazardEstimate) *CacheEvidence {
	if k == nil {
		return nil
	}
	e := &CacheEvidence{
		Divided: k.short() || k.Divided && limits(&in.Cache) && float64(k.Used) >= stillShort*float64(k.Memory), Memory: float64(k.Memory), Held: float64(k.Held), Entry: k.Entry, Sizes: k.sizes, Price: k.price, Left: k.left,
	}
	for class := range e.Classes {
		c, h := &e.Classes[class], &k.Hazards[class]
		c.Curve = k.TTLs[class]
		ttl := time.Duration(in.Cache.TTL[class] * float64(time.Second))
		c.Compared.All, c.Compared.Changed = h.Count()
		young := max(time.Duration(youngAge*float64(ttl)), youngest)
		c.Young.All, c.Young.Changed = h.Between(0, young)
		c.Old.All, c.Old.Changed = h.Between(young, math.MaxInt64)
		estimates[class].update(now, h)
		c.Change, c.Upper, c.Noise = estimates[class].change, estimates[class].upper, estimates[class].noise
	}
	return e
}

// limits tells whether memory is kept free by what is in force.
func limits(c *policy.Cache) bool { return c.Worth > 0 || c.Share > 0 }

func (k *KnownCache) short() bool { return k.Divided && float64(k.Used) >= shortFrom*float64(k.Memory) }

func (c *CacheEvidence) clone() *CacheEvidence {
	if c == nil {
		return nil
	}
	own := *c
	own.Sizes = slices.Clone(c.Sizes)
	for i := range own.Classes {
		own.Classes[i].Curve.Points = slices.Clone(c.Classes[i].Curve.Points)
	}
	return &own
}

// priceMemory finds what a byte of the memory is worth that the routes share: it goes to where it saves most, and the last one has the price. Where every route
// keeps as much as it has a use for, the price is 0.
func priceMemory(all []Known) {
	type piece struct{ bytes, slope float64 }
	var pieces []piece
	memory := 0.
	for i := range all {
		k := all[i].Cache
		if k == nil || !k.short() {
			continue
		}
		longest := 0.
		for _, ttl := range all[i].InForce.Cache.TTL {
			longest = max(longest, ttl)
		}
		k.sizes = k.concave(time.Duration(longest * float64(time.Second)))
		memory = float64(k.Memory)
		for j := 1; j < len(k.sizes); j++ {
			a, b := k.sizes[j-1], k.sizes[j]
			pieces = append(pieces, piece{b.Bytes - a.Bytes, slopeOf(a, b)})
		}
	}
	slices.SortFunc(pieces, func(a, b piece) int { return cmp.Or(cmp.Compare(b.slope, a.slope), cmp.Compare(a.bytes, b.bytes)) })
	price, left := 0., memory
	for _, p := range pieces {
		if left < p.bytes {
			price = p.slope
			break
		}
		left -= p.bytes
	}
	for i := range all {
		if k := all[i].Cache; k != nil && k.short() {
			k.price, k.left = price, left
		}
	}
}

func slopeOf(a, b CacheSize) float64 { return (b.Saved - a.Saved) / (b.Bytes - a.Bytes) }

// concave are the sizes with what they save, from none on, without those that save less than a mix of their neighbours would.
func (k *KnownCache) concave(ttl time.Duration) []CacheSize {
	hull := []CacheSize{{}}
	var last int64
	for _, p := range k.Sizes.Points {
		if p.Size <= last { // by size, then by time
			continue
		}
		last = p.Size
		at, known := k.Sizes.At(p.Size, ttl)
		if !known || p.Size > k.Memory {
			continue
		}
		next := CacheSize{float64(p.Size), at.NanoUSD / 1e9}
		if next.Saved <= hull[len(hull)-1].Saved {
			continue
		}
		for n := len(hull); n > 1 && slopeOf(hull[n-2], hull[n-1]) <= slopeOf(hull[n-1], next); n = len(hull) {
			hull = hull[:n-1]
		}
		hull = append(hull, next)
	}
	return hull
}
