package proxy

import (
	"fmt"
	"net/http"
	"sync"
	"time"

	"llm-auto-optimizer/config"
	"llm-auto-optimizer/proxy/cache"
	"llm-auto-optimizer/proxy/provider"
)

// Cache keeps answers between exchanges. Its methods must not wait for long, and are safe for concurrent use.
type Cache interface {
	// Get returns the value under a key. Nobody may write to it.
	Get(now time.Time, key [32]byte) (value []byte, found bool)
	// Put offers an item, which may be dropped.
	Put(now time.Time, key [32]byte, item *CacheItem)
}

// CacheItem is a value with how long it is of use, and by what names it can be found again. It is an alias, so that caches need not know this package.
type CacheItem = struct {
	Value                []byte // the cache's from now on
	TTL, Idle            time.Duration
	Route, Model, Caller string
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
	cacheStale // an old answer, because there was no new one
	cacheResults
)

func (r cacheResult) String() string {
	return [cacheResults]string{"off", "bypass", "miss", "hit", "stale"}[r]
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
	model  string        // as the client names it
	record []byte        // of the answer's body, as it came
	large  bool          // there is too much of it
	old    []byte        // an entry that may stand in where there is no new answer
	body   []byte        // of a hit, as it is stored; nil: it is in held
	age    time.Duration // of a hit; negative: none
	saved  config.NanoUSD
	sooner time.Duration // that a hit came than the answer had
}

// cacheTools are what reading requests and answers needs of memory.
type cacheTools struct {
	reader    cache.Reader
	checker   cache.Checker
	converter cache.Converter
	entry     cache.Entry
}

var cacheToolsPool = sync.Pool{New: func() any { return &cacheTools{} }}

func borrowCacheTools() *cacheTools { return cacheToolsPool.Get().(*cacheTools) } //nolint:forcetypeassert // the pool holds nothing else

func (t *cacheTools) giveBack() {
	t.reader.Release()
	t.checker.Release()
	t.converter.Release()
	t.entry = cache.Entry{}
	cacheToolsPool.Put(t)
}

// lookUp answers the exchange from the cache, if it can. Otherwise it notes what is to become of the answer.
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
	t := borrowCacheTools()
	defer t.giveBack()
	if x.bypasses(t, r) {
		if c.asked.OnlyIfCached {
			return false, fail(&notCached, nil)
		}
		return false, nil
	}
	c.result, c.keep, c.usage, c.model = cacheMiss, true, x.request.IncludeUsage, string(x.request.Model)
	if answered = p.find(x, t); answered {
		x.route = r
		return true, nil
	}
	if c.asked.OnlyIfCached {
		c.keep = false
		return false, fail(&notCached, nil)
	}
	return false, nil
}

// bypasses tells whether the request is none of the cache's business. Otherwise its key is known afterwards.
func (x *Exchange) bypasses(t *cacheTools, r *routeState) bool {
	c := &x.cache
	if c.asked.NoStore || x.ownHeaders && x.peek(targetHeader) != nil { // who names a target wants its answer
		return true
	}
	q := cache.Question{
		Route: "provider:" + x.provider.name, Dialect: x.provider.dialect, Operation: x.operation, Shared: c.of.rules.Shared, Model: x.request.Model,
		Path: x.path, Query: x.query, Body: x.body, Peek: x.peek,
	}
	if r != nil {
		q.Route = "route:" + r.name
	}
	if x.caller != (hashID{}) {
		q.Caller = x.caller[:]
	}
	asked := time.Duration(0)
	if x.ownHeaders {
		if c.of.rules.KeyHeader {
			q.Own = x.peek(cacheKeyHeader)
		}
		asked, _ = cache.ParseTTL(x.peek(cacheTTLHeader))
	}
	key, verdict := t.reader.Read(&q)
	if !verdict.Storable(&c.of.rules) {
		return true
	}
	c.key = key
	c.ttl = cache.Jittered(&c.key, c.of.rules.TTLFor(asked))
	return false
}

// find looks for an answer, and makes it the exchange's.
func (p *Proxy) find(x *Exchange, t *cacheTools) (found bool) {
	c := &x.cache
	now := time.Now()
	value, found := p.cache.Get(now, c.key)
	if !found {
		return false
	}
	if cache.Decode(&t.entry, &c.key, value) != nil {
		c.of.counts.damaged.Add(1)
		return false
	}
	switch t.entry.State(now, &c.of.rules, &c.asked) {
	case cache.Fresh:
		return x.serveStored(t, now, cacheHit)
	case cache.Stale, cache.OnError:
		c.old = value
	default:
	}
	return false
}

// serveStored makes the answer of an entry the exchange's, in the form that the client wants; false where it can't be told so.
func (x *Exchange) serveStored(t *cacheTools, now time.Time, as cacheResult) bool {
	e, c := &t.entry, &x.cache
	form := cache.FormOf(x.operation, &x.request, x.query)
	if cache.Verbatim(e, form) {
		c.body = e.Answer
	} else {
		held, err := t.converter.Append(x.held[:0], e, form)
		if err != nil {
			x.held = x.held[:0]
			return false
		}
		x.held = held
	}
	c.result, c.keep, c.age = as, false, e.Age(now)
	if as == cacheHit {
		c.saved = e.Cost
	}
	c.sooner = max(0, e.Latency-now.Sub(x.start))
	x.status, x.format, x.usage, x.identity, x.streamed = e.Status, form.Format, e.Usage, true, false
	x.cost, x.accounted, x.unpriced, x.estimated = 0, true, false, false
	x.length = int64(len(x.answerBody()))
	x.meter.Reset(x.operation, provider.Ignored)
	x.startHead(e.Status, nil)
	kind := e.Type
	if form.Format != e.Format {
		kind = []byte(cache.TypeOf(e.Operation, form.Format))
	}
	x.out = appendLine(x.out, "Content-Type", kind)
	for block := e.Header; ; {
		name, value, rest, more := cache.NextHeader(block)
		if !more {
			break
		}
		x.out, block = appendLine(x.out, string(name), value), rest
	}
	x.out = appendLength(x.out, "Age", int64(c.age/time.Second))
	return true
}

// answerBody is the body of an answer that is at hand.
func (x *Exchange) answerBody() []byte {
	if x.cache.body != nil {
		return x.cache.body
	}
	return x.held
}

// standIn has an old answer take the place of a failure, where there is one.
func (p *Proxy) standIn(x *Exchange, err error) (answered bool) {
	c := &x.cache
	if c.old == nil || x.begun || x.client.tether.IsCut() || err == nil && x.status < http.StatusInternalServerError && x.status != http.StatusTooManyRequests {
		return false
	}
	if err != nil && kindOfError(err).status < http.StatusInternalServerError {
		return false // the request is at fault
	}
	t := borrowCacheTools()
	defer t.giveBack()
	if cache.Decode(&t.entry, &c.key, c.old) != nil {
		return false
	}
	if x.attempts > 0 {
		x.abandon(err)
	}
	return x.serveStored(t, time.Now(), cacheStale)
}

// capture keeps a piece of a streamed answer's body for the cache.
func (x *Exchange) capture(piece []byte) {
	c := &x.cache
	if !c.keep || c.large {
		return
	}
	if c.large = len(c.record)+len(piece) > c.of.rules.MaxSize(); c.large {
		c.record = nil
		return
	}
	c.record = append(c.record, piece...)
}

// forgetAnswer drops what was captured of an answer that nobody sees.
func (x *Exchange) forgetAnswer() { x.cache.record, x.cache.large = x.cache.record[:0], false }

// store keeps the answer, if it is a good one.
func (p *Proxy) store(x *Exchange, now time.Time) {
	c := &x.cache
	if !c.keep {
		return
	}
	if refusal := p.storeAnswer(x, now); refusal != cache.Stored {
		c.of.counts.refuse(refusal)
		return
	}
	c.of.counts.stored.Add(1)
}

// Refusals besides those of package cache.
const (
	refusedBroken   cache.Refusal = "broken"   // the exchange has failed, or its client has left
	refusedEncoding cache.Refusal = "encoding" // compressed
)

func (p *Proxy) storeAnswer(x *Exchange, now time.Time) cache.Refusal {
	c := &x.cache
	switch {
	case x.kind != nil:
		return refusedBroken
	case !x.identity:
		return refusedEncoding
	case c.large:
		return cache.TooLarge
	}
	body := x.held
	if x.streamed {
		body = c.record
	}
	_, known := x.meter.Usage()
	t := borrowCacheTools()
	defer t.giveBack()
	a := cache.Answer{Operation: x.operation, Format: x.format, Status: x.status, Body: body, Usage: known && x.meter.UsageFinal()}
	if refusal := t.checker.Complete(&a, &c.of.rules); refusal != cache.Stored {
		return refusal
	}
	caller := x.caller.appendTo(nil)
	e := cache.Entry{
		Key: c.key, Created: now, Expires: now.Add(c.ttl), Route: []byte(x.routeName()), Caller: caller, Model: []byte(c.model), Dialect: x.provider.dialect,
		Operation: x.operation, Format: x.format, Status: x.status, Usage: x.usage, Cost: x.total, Unpriced: x.unpriced, Asked: c.usage || x.askedUsage,
		Latency: now.Sub(x.start), Type: []byte(cache.TypeOf(x.operation, x.format)), Answer: body,
	}
	if !x.attempt.content.IsZero() {
		e.FirstByte = x.attempt.content.Sub(x.start)
	}
	p.cache.Put(now, c.key, &CacheItem{
		Value: e.Append(make([]byte, 0, e.Size())), TTL: c.of.rules.KeepFor(c.ttl), Idle: c.of.rules.Idle,
		Route: x.routeName(), Model: c.model, Caller: string(caller),
	})
	return cache.Stored
}

// countCache notes what the cache did.
func (x *Exchange) countCache() {
	c := &x.cache
	if c.of == nil {
		return
	}
	n := c.of.counts
	n.results[c.result].Add(1)
	n.savedNanoUSD.Add(int64(c.saved))
	n.savedNanos.Add(int64(c.sooner))
}

// rulesOf are a route's settings as the core knows them.
func rulesOf(c *config.CacheRules) (cache.Settings, error) {
	store, known := cache.ParseStore(c.Store)
	if !known {
		return cache.Settings{}, fmt.Errorf("cache.store: %q is neither deterministic nor all", c.Store)
	}
	s := cache.Settings{
		Enabled: c.Enabled, TTL: c.TTL, Idle: c.Idle, OnError: c.StaleIfError, Store: store, Shared: c.Shared, MaxEntry: int(c.MaxEntry),
		KeyHeader: c.Overrides, TTLHeader: c.Overrides, MaxTTL: c.MaxTTL,
	}
	if len(c.Finish) > 0 {
		s.Finish = c.Finish
	}
	return s, nil
}
