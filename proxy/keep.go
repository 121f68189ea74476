package proxy

import (
	"time"

	"llm-auto-optimizer/analysis/window"
	"llm-auto-optimizer/proxy/cache"
)

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
func (x *Exchange) forgetAnswer() {
	if x.cache.body == nil { // else it is an answer already
		x.cache.record, x.cache.large = x.cache.record[:0], false
	}
}

// store keeps the answer, if it is a good one.
func (p *Proxy) store(x *Exchange, now time.Time) (stored bool) {
	c := &x.cache
	if !c.keep {
		return false
	}
	if refusal := p.storeAnswer(x, now); refusal != cache.Stored {
		c.of.counts.refuse(refusal)
		return false
	}
	c.of.counts.stored.Add(1)
	return true
}

// Refusals besides those of package cache.
const (
	refusedBroken   cache.Refusal = "broken"   // the exchange has failed, or its client has left
	refusedEncoding cache.Refusal = "encoding" // compressed
	refusedPurged   cache.Refusal = "purged"   // the cache was purged while it came
	refusedRoom     cache.Refusal = "room"     // the cache did not take it
	refusedWorth    cache.Refusal = "worth"    // it has cost too little for its size, as the optimizer has it
)

func (p *Proxy) storeAnswer(x *Exchange, now time.Time) cache.Refusal {
	c := &x.cache
	switch {
	case x.kind != nil:
		return refusedBroken
	case c.purges != p.purges.Load():
		return refusedPurged
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
	e := cache.Entry{ // what it has cost and how long it took, without failures before it and without the client's own slowness
		Key: c.key, Created: now, Expires: now.Add(c.ttl), Route: []byte(x.routeName()), Caller: caller, Model: []byte(c.model), Dialect: x.provider.dialect,
		Operation: x.operation, Format: x.format, Status: x.status, Usage: x.usage, Cost: x.cost, Unpriced: x.unpriced, Asked: c.usage || x.askedUsage, OwnTTL: c.own,
		Latency: x.lastRead.Sub(x.start), Type: []byte(cache.TypeOf(x.operation, x.format)), Header: c.header, Answer: body,
	}
	if !x.attempt.content.IsZero() {
		e.FirstByte = x.attempt.content.Sub(x.start)
	}
	c.size, c.worth, c.took = e.Size(), e.Cost, e.Latency
	x.compareWithOld(&e, t)
	if !x.worthKeeping(&e) {
		return refusedWorth
	}
	if !p.cache.Put(now, c.key, &CacheItem{
		Value: e.Append(make([]byte, 0, c.size)), TTL: c.of.rules.KeepFor(x.longestTTL()), Idle: c.of.rules.Idle, Worth: worthOf(&e),
		Route: x.routeName(), Model: c.model, Caller: string(caller), RouteMemory: x.routeMemory(),
	}) {
		return refusedRoom
	}
	return cache.Stored
}

// secondWorth is what a second that a hit saves counts for where answers compete for memory, in NanoUSD: a hundredth of a cent. An answer of a small model costs
// about as much, so its time counts as much as its money; one that costs nothing, or whose price is not known, is still worth having.
const secondWorth = 100_000

// worthOf is what a hit of an answer saves.
func worthOf(e *cache.Entry) int64 {
	return max(1, int64(e.Cost)+int64(secondWorth*e.Latency.Seconds()))
}

// countCache notes what the cache did.
func (x *Exchange) countCache(o window.Outcome) {
	c := &x.cache
	if c.of == nil {
		return
	}
	n := &c.of.counts.of[x.class]
	n.results[c.result].Add(1)
	if c.result == cacheRefresh {
		n.spentNanoUSD.Add(int64(x.total))
	}
	if c.result.answers() {
		n.served.Add(x.delivered)
	}
	if x.kind != nil {
		return // nobody has got it
	}
	n.savedNanoUSD.Add(int64(c.saved))
	n.savedNanos.Add(int64(c.sooner))
	if c.result.pays() && o == window.OK {
		x.creditCache()
	}
}
