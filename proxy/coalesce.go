package proxy

import (
	"net/http"
	"time"

	"llm-auto-optimizer/analysis/window"
	"llm-auto-optimizer/config"
	"llm-auto-optimizer/proxy/cache"
	"llm-auto-optimizer/proxy/flight"
	"llm-auto-optimizer/proxy/limit"
	"llm-auto-optimizer/proxy/provider"
)

// What is shared of an answer under way: first its head, where it is relayed piece by piece; at last how it ended, with the whole body where it was held.
type (
	answerFlight = flight.Flight[answerHead, answerEnd]
	answerReader = flight.Reader[answerHead, answerEnd]
	flights      = flight.Group[answerHead, answerEnd]
)

type answerHead struct {
	status   int
	format   provider.Format
	length   int64 // of the body; -1: not known
	identity bool
	lines    []byte // of the head, whole
}

type answerEnd struct {
	kind       *kindOfFailure // nil: the answer is whole, or the provider's own error
	cause      error          // the detail behind kind
	retryAfter time.Duration  // that comes with kind
	alone      bool           // it is about the leader's own request, or caller: the others' may fare otherwise
	again      bool           // it may be worth another try
	head       answerHead     // of an answer that was not announced
	body       []byte
	outcome    window.Outcome
	usage      provider.Usage
	cost       config.NanoUSD
	unknown    bool // what it costs
}

// Up to followMost an answer may be joined, and followLag is what may lie between it and the slowest who follows. Answers are rarely a tenth of that.
const (
	followMost = 4 << 20
	followLag  = 16 << 20
	// keptSoon is how long it may take until the cache serves what it has taken.
	keptSoon = 100 * time.Millisecond
)

func newFlights() *flights {
	return flight.NewGroup[answerHead, answerEnd](flight.Options{Most: followMost, Lag: followLag})
}

// share has the exchange follow an answer that is under way for the same request of the same caller, if there is one. Otherwise it leads: others may follow it.
func (p *Proxy) share(x *Exchange) (answered bool, err error) {
	c := &x.cache
	if !c.of.coalesce || c.asked.NoCache || x.ownHeaders && x.peek(optionsHeader) != nil { // who sets options for itself gets what they bring
		return false, nil
	}
	id, tries, alone := x.flightID(), 0, 0
	f, reader := p.flights.Join(id, x.client.tether.Cut, tries)
	for {
		if reader == nil {
			c.flight = f
			x.client.flight.Store(f)
			return false, nil
		}
		c.reader, c.followed = reader, true
		verdict, err := p.follow(x, f, tries == 0)
		switch verdict {
		case followServed, followFailed:
			c.result = cacheCoalesced
			if (err != nil || x.status >= 400) && p.standIn(x, err) {
				return true, nil
			}
			return err == nil, err
		case followRetry:
			tries++
		case followAside:
			c.aside = true
		case followAlone:
			if alone++; alone == mostAlone {
				reader.Leave()
				c.reader, c.followed = nil, false
				return false, nil
			}
		}
		f, c.reader = p.flights.Rejoin(f, x.client.tether.Cut, tries)
		reader.Leave()
		reader = c.reader
		c.followed = reader != nil
	}
}

// mostAlone is after how many leaders that have failed on their own account an exchange goes its own way: in turn all would wait for each other.
const mostAlone = 2

// followVerdict is what following came to.
type followVerdict uint8

const (
	followServed followVerdict = iota // by an answer, be it an error of the provider's
	followFailed                      // for good
	followRetry                       // the targets have failed once: another try may do better
	followAlone                       // the leader has failed on its own account
	followAside                       // it waits on the account of its caller, who is another one
)

// flightID is what those have in common who may share an answer byte for byte.
func (x *Exchange) flightID() flight.ID {
	form := cache.FormOf(x.operation, &x.request, x.query)
	id := flight.ID{Key: x.cache.key, Form: uint16(form.Format) << 1}
	if form.IncludeUsage {
		id.Form |= 1
	}
	return id
}

// follow waits for the head of a flight's answer, or for all of it. mayRetry says that a first failure need not be the last word.
func (p *Proxy) follow(x *Exchange, f *answerFlight, mayRetry bool) (followVerdict, error) {
	ctx, release := x.client.tether.Attend(x.followUntil())
	defer release()
	for {
		head, news := x.cache.reader.HeadOrEnd()
		switch end := news.End; {
		case head != nil:
			x.takeHeadOf(head)
			x.streamed = true
			return followServed, nil
		case end == nil && news.Held != 0 && news.Held != uint64(x.who):
			return followAside, nil
		case end == nil:
		case end.alone:
			return followAlone, nil
		case end.again && mayRetry && f.Tries() == 0:
			return followRetry, nil
		case end.kind != nil:
			x.retryAfter = end.retryAfter
			return followFailed, fail(end.kind, end.cause)
		default:
			x.takeHeadOf(&end.head)
			x.takeEnd(end)
			x.cache.body = end.body
			return followServed, nil
		}
		start := time.Now()
		select {
		case <-news.Wait:
		case <-ctx.Done():
			if x.client.tether.IsCut() {
				return followFailed, x.cutError()
			}
			return followFailed, fail(&totalTooLong, nil)
		}
		x.waited += time.Since(start)
	}
}

// followUntil is when a follower's patience ends; zero: never.
func (x *Exchange) followUntil() (t time.Time) {
	if total := x.limits.Timeouts.Total; total > 0 {
		t = x.start.Add(total)
	}
	return t
}

// takeHeadOf makes the head of a shared answer the exchange's.
func (x *Exchange) takeHeadOf(head *answerHead) {
	c := &x.cache
	c.result, c.keep = cacheCoalesced, false
	x.status, x.format, x.identity, x.length = head.status, head.format, head.identity, head.length
	x.cost, x.accounted = 0, true
	x.meter.Reset(x.operation, provider.Ignored)
	x.startHead(head.status, nil)
	x.out = append(x.out, head.lines...)
	x.overhead = max(1, time.Since(x.start)-x.waited)
}

// takeEnd notes what a shared answer was.
func (x *Exchange) takeEnd(end *answerEnd) {
	c := &x.cache
	x.usage, c.outcome = end.usage, end.outcome
	if end.outcome == window.OK {
		c.saved, x.unpriced = end.cost, end.unknown
	}
}

// holdFlight tells those who follow the exchange that it waits for a limit that is for its caller alone: others need not. Who has stepped in for another one does not, or nobody's
// answer would be shared where several callers are over their limits.
func (x *Exchange) holdFlight(r *limit.Refusal) {
	if r.Caller != 0 && !r.Shared && !x.cache.aside {
		x.cache.flight.Hold(uint64(x.who))
	}
}

// headForOthers is the head that those who follow the exchange are given.
func (x *Exchange) headForOthers() answerHead {
	lines := append(append([]byte(nil), x.cache.types...), x.cache.header...)
	return answerHead{x.status, x.format, x.length, x.identity, lines}
}

// endFlight tells those who follow the exchange that it is over; err is why, where it was the gateway that failed.
func (x *Exchange) endFlight(err error) {
	f := x.cache.flight
	if f == nil || f.Ended() {
		return
	}
	kind := x.kind
	if err != nil {
		kind = kindOfError(err)
	}
	end := x.endForOthers(kind, err)
	f.End(end.failed(), end)
}

// failed tells whether nobody should get it who asks from now on.
func (e *answerEnd) failed() bool { return e.kind != nil || e.outcome != window.OK }

func (x *Exchange) endForOthers(kind *kindOfFailure, cause error) *answerEnd {
	if kind != nil {
		return &answerEnd{kind: kind, cause: cause, retryAfter: x.retryAfter, alone: kind.status < 500 && kind != &providerLimited, again: kind != &shuttingDown}
	}
	if x.attempts > 0 {
		x.account()
	}
	end := &answerEnd{
		alone: x.cache.of.rules.Shared && aboutCaller(x.status), again: x.unserved(nil),
		outcome: x.outcome(), usage: x.usage, cost: x.cost, unknown: x.unpriced,
	}
	if !x.isRelayed() {
		end.head, end.body = x.headForOthers(), append([]byte{}, x.answerBody()...)
	}
	return end
}

// aboutCaller tells whether a provider's answer is about who asked, and not about what.
func aboutCaller(status int) bool {
	switch status {
	case http.StatusUnauthorized, http.StatusPaymentRequired, http.StatusForbidden, http.StatusNotFound, http.StatusTooManyRequests:
		return true
	}
	return false
}

// isRelayed tells whether the body of the answer goes out as it comes.
func (x *Exchange) isRelayed() bool { return x.streamed && x.hasBody() }

// landFlight ends the exchange's part in a flight, whichever it has. kept says that the answer is in the cache.
func (x *Exchange) landFlight(kept bool) {
	c := &x.cache
	if c.reader != nil {
		c.reader.Leave()
	}
	if c.flight == nil {
		return
	}
	x.client.flight.CompareAndSwap(c.flight, nil)
	x.endFlight(nil) // at the latest
	linger := time.Duration(0)
	if kept {
		linger = min(keptSoon, c.ttl)
	}
	c.flight.Land(linger)
	if c.left { // the others have got the answer, and it is kept
		x.endWith(&clientLeft, errLeft)
	}
}
