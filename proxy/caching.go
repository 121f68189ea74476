package proxy

import (
	"math/rand/v2"
	"sync"
	"time"

	"llm-auto-optimizer/analysis/window"
	"llm-auto-optimizer/config"
	"llm-auto-optimizer/proxy/cache"
	"llm-auto-optimizer/proxy/provider"
)

// Cache keeps answers between exchanges. Its methods must not wait for long, and are safe for concurrent use.
type Cache interface {
	// Get returns the value under a key. Nobody may write to it.
	Get(now time.Time, key [32]byte) (value []byte, found bool)
	// Put offers an item; false: it is certainly not taken.
	Put(now time.Time, key [32]byte, item *CacheItem) (taken bool)
}

// CacheItem is a value with how long it is of use, and by what names it can be found again. It is an alias, so that caches need not know this package.
type CacheItem = struct {
	Value                []byte // the cache's from now on
	TTL, Idle            time.Duration
	Worth                int64 // what a hit saves, in NanoUSD; 0: not known
	Route, Model, Caller string
	RouteMemory          int64 // bytes that entries of the route may occupy in memory, this one included; 0: any
}

// Headers by which requests have a say in what the cache does.
const (
	cacheKeyHeader = "x-llmopt-cache-key"
	cacheTTLHeader = "x-llmopt-cache-ttl"
)

// cacheResult is what the cache did for an exchange.
type cacheResult uint8

const (
	cacheOff    cacheResult = iota // the route keeps nothing, or the operation has no answers to be kept
	cacheBypass                    // the request is none to be kept, or does not want it
	cacheMiss
	cacheHit
	cacheStale     // an old answer, because there was no new one
	cacheCoalesced // the answer to the same request, which was under way
	cacheUpdating  // an answer that is past its time, while a new one is fetched
	cacheRefresh   // none of a client's: the exchange fetches an answer anew
	cacheResults
)

func (r cacheResult) String() string {
	return [cacheResults]string{"off", "bypass", "miss", "hit", "stale", "coalesced", "updating", "refresh"}[r]
}

// caching is an exchange's share in the cache.
type caching struct {
	result cacheResult
	of     *routeCache
	key    cache.Key
	asked  cache.Directives
	ttl    time.Duration // of the answer, if it is stored
	keep   bool          // the answer is to be stored if it is a good one
	usage  bool          // the client wants the stream's usage
	own    bool          // the request has set it
	model  string        // as the client names it
	record []byte        // of the answer's body, as it came; of a hit in another form, as it goes out
	header []byte        // lines of the answer's head that are kept
	types  []byte        // lines that tell of its content
	large  bool          // there is too much of it
	old    []byte        // an entry that may stand in where there is no new answer
	before []byte        // the entry of the same key that there was
	steady bool          // the same question should get the same answer, until what it is about changes
	size   int           // of the answer as it is stored, or would be; 0: it is none to be kept
	worth  config.NanoUSD
	took   time.Duration // to get it; worth is what that has cost
	body   []byte        // of a hit; the store's, or record
	age    time.Duration // of a hit; negative: none
	saved  config.NanoUSD
	sooner time.Duration // that a hit came than the answer had

	flight      *answerFlight  // that others may follow; nil: none
	reader      *answerReader  // of the flight that is followed; nil: none is
	outcome     window.Outcome // of it
	left        bool           // the client has, while others still want the answer
	revalidates bool           // it is to be found out whether the answer has changed
	purges      uint64         // that there had been when the exchange came
	aside       bool           // it has left a flight whose leader was held up
	followed    bool           // what the exchange came to is another one's
	refresh     bool           // the answer is to be fetched anew
	created     time.Time      // of the answer that was given out
}

// answers tells whether no target was asked for the answer.
func (r cacheResult) answers() bool { return r.pays() || r == cacheStale }

// pays tells whether the answer was had without a call of a provider that would have been needed.
func (r cacheResult) pays() bool { return r == cacheHit || r == cacheUpdating || r == cacheCoalesced }

// cacheTools are what reading requests and answers needs of memory.
type cacheTools struct {
	reader    cache.Reader
	checker   cache.Checker
	converter cache.Converter
	comparer  cache.Comparer
	entry     cache.Entry
}

var cacheToolsPool = sync.Pool{New: func() any { return &cacheTools{} }}

func borrowCacheTools() *cacheTools { return cacheToolsPool.Get().(*cacheTools) } //nolint:forcetypeassert // the pool holds nothing else

func (t *cacheTools) giveBack() {
	t.reader.Release()
	t.checker.Release()
	t.converter.Release()
	t.comparer.Release()
	t.entry = cache.Entry{}
	cacheToolsPool.Put(t)
}

// lookUp answers the exchange from the cache, or by what is under way for the same request, if it can. Otherwise it notes what is to become of the answer.
func (p *Proxy) lookUp(x *Exchange, r *routeState) (answered bool, err error) {
	of := x.settings.direct
	if r != nil {
		of = r.answers
	}
	if p.cache == nil || of == nil || x.rest != nil || x.upgrade || x.isHead || len(x.body) == 0 || x.operation == provider.Opaque {
		return false, nil
	}
	c := &x.cache
	c.of, c.result, c.age = of, cacheBypass, -1
	c.asked = cache.ParseDirectives(x.peek("cache-control"))
	c.purges = p.purges.Load()
	if r != nil {
		x.classify(r)
	}
	if x.bypasses(r) {
		if c.asked.OnlyIfCached {
			return false, fail(&notCached, nil)
		}
		return false, nil
	}
	c.result, c.keep, c.usage, c.model = cacheMiss, true, x.request.IncludeUsage, string(x.request.Model)
	switch {
	case p.find(x):
		answered = true
	case c.asked.OnlyIfCached:
		c.keep = false
		return false, fail(&notCached, nil)
	default:
		answered, err = p.share(x)
	}
	if r != nil && (answered || err != nil) {
		x.join(r)
	}
	return answered, err
}

// bypasses tells whether the request is none of the cache's business. Otherwise its key is known afterwards.
func (x *Exchange) bypasses(r *routeState) bool {
	c := &x.cache
	if c.asked.NoStore || x.ownHeaders && x.peek(targetHeader) != nil { // who names a target wants its answer
		return true
	}
	q := cache.Question{
		Route: c.of.key, Dialect: x.provider.dialect, Operation: x.operation, Shared: c.of.rules.Shared, Model: x.request.Model,
		Path: x.path, Query: x.query, Body: x.body, Peek: x.peek,
	}
	if r == nil {
		q.Route = x.provider.cacheKey
	}
	if all := x.allCredentials(); all != ([32]byte{}) {
		q.Caller = all[:]
	}
	if x.ownHeaders && c.of.rules.KeyHeader {
		q.Own = x.peek(cacheKeyHeader)
	}
	t := borrowCacheTools()
	defer t.giveBack()
	key, verdict := t.reader.Read(&q)
	if !verdict.Storable(&c.of.rules) {
		return true
	}
	asked := time.Duration(0)
	if x.ownHeaders && c.of.rules.TTLHeader {
		asked, c.own = cache.ParseTTL(x.peek(cacheTTLHeader))
	}
	rules := x.cacheRules()
	c.key, c.steady = key, verdict.Grade == cache.Deterministic
	c.ttl = cache.Jittered(&c.key, rules.TTLFor(asked))
	return false
}

// find looks for an answer, and makes it the exchange's.
func (p *Proxy) find(x *Exchange) (found bool) {
	c := &x.cache
	now := time.Now()
	value, found := p.cache.Get(now, c.key)
	x.waited += time.Since(now) // it may have been on disk
	if !found {
		return false
	}
	t := borrowCacheTools()
	defer t.giveBack()
	if cache.Decode(&t.entry, &c.key, value) != nil {
		c.of.counts.damaged.Add(1)
		return false
	}
	switch e := &t.entry; x.stateOf(e, now) {
	case cache.Fresh:
		if !x.tell(t) {
			break
		}
		c.before = value
		c.refresh = !c.asked.OnlyIfCached && cache.EarlyRefresh(now, e.Expires, e.Latency, c.of.rules.EarlyBeta, 1-rand.Float64())
		x.giveOut(e, now, cacheHit)
		return true
	case cache.Stale:
		c.before = value
		if c.old = value; !x.tell(t) {
			return false
		}
		c.refresh = !c.asked.OnlyIfCached
		x.giveOut(e, now, cacheUpdating)
		return true
	case cache.OnError:
		c.old = value
	default:
	}
	c.before = value
	return false
}
