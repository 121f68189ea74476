package proxy

import (
	"bytes"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/valyala/fasthttp"

	"llm-auto-optimizer/proxy/cache"
)

// mostRefreshes is how many answers are fetched anew at once. What is beyond is fetched when it is asked for again.
const mostRefreshes = 32

// background are the exchanges that no client waits for.
type background struct {
	mu      sync.Mutex
	of      map[*clientConn]struct{}
	stopped bool
	resting map[cache.Key]rest
}

// rest is how long an answer is not fetched anew, because the last try brought none that was kept.
type rest struct {
	until time.Time
	pause time.Duration
}

const (
	// firstRest follows the first fetch in vain, and doubles up to longestRest.
	firstRest, longestRest = time.Second, 10 * time.Minute
	// mostResting bounds what is remembered. It is much more than what can be fetched in vain within longestRest, unless every question is another one.
	mostResting = 4096
)

// enter takes another one in, if there is room, and the answer has not been fetched in vain a moment ago.
func (b *background) enter(c *clientConn, key *cache.Key, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stopped || len(b.of) >= mostRefreshes || now.Before(b.resting[*key].until) {
		return false
	}
	if b.of == nil {
		b.of, b.resting = map[*clientConn]struct{}{}, map[cache.Key]rest{}
	}
	b.of[c] = struct{}{}
	return true
}

func (b *background) leave(c *clientConn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.of, c)
}

// brought notes whether a fetch has brought an answer that was kept.
func (b *background) brought(key *cache.Key, kept bool, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if kept {
		delete(b.resting, *key)
		return
	}
	if len(b.resting) >= mostResting {
		clear(b.resting)
	}
	pause := min(max(2*b.resting[*key].pause, firstRest), longestRest)
	b.resting[*key] = rest{now.Add(pause), pause}
}

// stop cuts all of them.
func (b *background) stop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stopped = true
	for c := range b.of {
		c.tether.Cut()
	}
}

// refresh begins to fetch an answer anew that the cache has just given out, if that is to be.
func (p *Proxy) refresh(x *Exchange, now time.Time) {
	c := &x.cache
	if c.result == cacheRefresh {
		return
	}
	if c.result == cacheHit && !c.refresh && c.steady && !c.asked.OnlyIfCached && c.of.route != "" {
		n := c.of.counts
		c.revalidates = n.revalidations.Begin(rand.Float64(), c.of.revalidate, n.saved())
	}
	if (c.refresh || c.revalidates) && !p.beginRefresh(x, now) && c.revalidates {
		c.of.counts.revalidations.End(0)
	}
}

// beginRefresh begins the fetching, unless somebody does so already. Whoever asks for the answer when it is past its time follows.
func (p *Proxy) beginRefresh(x *Exchange, now time.Time) (begun bool) {
	if p.draining.Load() || p.memory.over.Load() {
		return false
	}
	client := &clientConn{}
	if !p.background.enter(client, &x.cache.key, now) {
		return false
	}
	defer func() {
		if !begun {
			p.background.leave(client)
		}
	}()
	f := p.flights.Lead(x.flightID(), client.tether.Cut)
	if f == nil {
		return false
	}
	defer func() {
		if !begun {
			f.Land(0)
		}
	}()
	if p.keptSince(x) { // between our giving it out and this
		return false
	}
	ctx := &fasthttp.RequestCtx{}
	x.header.CopyTo(&ctx.Request.Header)
	y, body := p.begin(&ctx.Request.Header, client), bytes.Clone(x.body)
	y.settings, y.subject = x.settings, x.subject
	y.subject.Header = y.peek
	y.cache = caching{
		result: cacheRefresh, of: x.cache.of, key: x.cache.key, ttl: x.cache.ttl, own: x.cache.own, keep: true, usage: x.request.IncludeUsage, model: x.cache.model,
		purges: p.purges.Load(), before: x.cache.before, steady: x.cache.steady, revalidates: x.cache.revalidates, age: -1, flight: f, record: y.cache.record, header: y.cache.header, types: y.cache.types,
	}
	r := x.route
	begun = true
	go func() {
		defer p.background.leave(client)
		defer func() {
			if v := recover(); v != nil {
				y.endWith(&internal, p.recovered(y, v))
				if y.conn != nil {
					y.dropConn()
				}
				p.record(y)
			}
		}()
		if err := p.fetch(ctx, y, r, body); err != nil {
			y.endWithError(err)
		}
		y.closeConn()
		y.endFlight(nil)
		p.record(y)
	}()
	return true
}

// refreshed notes what fetching an answer anew has come to.
func (p *Proxy) refreshed(x *Exchange, kept bool, now time.Time) {
	c := &x.cache
	if c.result != cacheRefresh {
		return
	}
	p.background.brought(&c.key, kept, now)
	if c.revalidates {
		c.of.counts.revalidations.End(x.total)
	}
}

// keptSince tells whether the answer is in the cache that took the place of the one which the exchange has given out.
func (p *Proxy) keptSince(x *Exchange) bool {
	t := borrowCacheTools()
	defer t.giveBack()
	value, found := p.cache.Get(time.Now(), x.cache.key)
	return found && cache.Decode(&t.entry, &x.cache.key, value) == nil && t.entry.Created.After(x.cache.created)
}

// fetch has a target answer the request of an exchange without a client.
func (p *Proxy) fetch(ctx *fasthttp.RequestCtx, x *Exchange, r *routeState, body []byte) error {
	if _, err := p.decodeHead(x); err != nil {
		return err
	}
	x.body = append(x.body[:0], body...)
	x.scan()
	p.admit(x)
	if err := p.route(x, r); err != nil {
		return err
	}
	if err := p.dispatch(ctx, x); err != nil {
		return err
	}
	if !x.streamed {
		x.account()
		return nil
	}
	head := x.headForOthers()
	x.cache.flight.Announce(&head)
	x.cache.flight.Publish(x.held)
	if kind, err := x.pumpFlight(x.cache.flight); kind != nil {
		return fail(kind, err)
	}
	return nil
}
