package proxy

import (
	"net/http"
	"time"

	"llm-auto-optimizer/proxy/cache"
	"llm-auto-optimizer/proxy/provider"
)

// tell puts the answer of the entry into the form that the client wants; false where it can't be told so. Nothing but the cache's own part of the exchange is
// touched, so that whatever answer there is besides can still go out.
func (x *Exchange) tell(t *cacheTools) (told bool) {
	e, c := &t.entry, &x.cache
	form := cache.FormOf(x.operation, &x.request, x.query)
	if cache.Verbatim(e, form) {
		c.body = e.Answer
		return true
	}
	record, err := t.converter.Append(c.record[:0], e, form)
	if err != nil {
		c.record = c.record[:0]
		return false
	}
	c.record, c.body = record, record
	return true
}

// giveOut makes an answer that was told the exchange's.
func (x *Exchange) giveOut(e *cache.Entry, now time.Time, as cacheResult) {
	c := &x.cache
	format := cache.FormOf(x.operation, &x.request, x.query).Format
	c.result, c.keep, c.age, c.created = as, false, e.Age(now), e.Created
	if as.pays() { // what stands in for failures is charged as they are, and saves nothing
		c.saved, c.sooner = e.Cost, max(0, e.Latency-now.Sub(x.start))
		x.usage = e.Usage
	}
	c.size, c.worth, c.took = e.Size(), e.Cost, e.Latency
	x.status, x.format, x.identity, x.streamed, x.length = e.Status, format, true, false, int64(len(c.body))
	x.cost, x.accounted = 0, true
	x.meter.Reset(x.operation, provider.Ignored)
	x.startHead(e.Status, nil)
	if format == e.Format {
		x.out = appendLine(x.out, "Content-Type", e.Type)
	} else {
		x.out = append(append(appendName(x.out, "Content-Type"), cache.TypeOf(e.Operation, format)...), "\r\n"...)
	}
	x.out = append(x.out, e.Header...) // whole lines
	x.out = appendLength(x.out, "Age", int64(c.age/time.Second))
	x.overhead = max(1, time.Since(x.start)-x.waited)
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
	if c.old == nil || c.purges != p.purges.Load() || x.begun || x.client.tether.IsCut() || !x.unserved(err) {
		return false
	}
	t := borrowCacheTools()
	defer t.giveBack()
	if cache.Decode(&t.entry, &c.key, c.old) != nil || !x.tell(t) {
		return false
	}
	if x.attempts > 0 {
		x.abandon(err)
	}
	x.giveOut(&t.entry, time.Now(), cacheStale)
	return true
}

// unserved tells whether the exchange has failed without the request being at fault.
func (x *Exchange) unserved(err error) bool {
	status := x.status
	if err != nil {
		status = kindOfError(err).status
	}
	return status >= http.StatusInternalServerError || status == http.StatusTooManyRequests
}
