package proxy

import (
	"bytes"
	"math/rand/v2"
	"net/http"
	"time"

	"llm-auto-optimizer/proxy/limit"
	"llm-auto-optimizer/proxy/provider"
	"llm-auto-optimizer/proxy/upstream"
)

// hearLimits takes in what the head of an answer says of the provider's limits, and how long it wants to be left alone. What a 429 means its body tells.
func (x *Exchange) hearLimits(head *upstream.Head) {
	held := x.pace.turn.Held()
	if !held && (x.route == nil || head.Status < http.StatusBadRequest) {
		return
	}
	h := x.limitsIn(head.Fields())
	if h != nil && x.route != nil && head.Status >= http.StatusBadRequest {
		x.retryAfter, _ = h.RetryAfter(x.attempt.answered)
	}
	switch {
	case head.Status == http.StatusTooManyRequests:
		x.pace.heard = h
		return
	case !held:
	case head.Status < http.StatusInternalServerError:
		x.pace.of.Answered(x.attempt.answered, &x.pace.turn, limit.Through, h, 0, 0)
	default:
		x.pace.of.Answered(x.attempt.answered, &x.pace.turn, limit.Other, h, 0, 0)
	}
	if h != nil {
		x.p.said.Put(h)
	}
}

// limitsIn are the headers about limits; nil: there are none.
func (x *Exchange) limitsIn(fields []upstream.Field) (h *limit.Headers) {
	for i := range fields {
		f := &fields[i]
		switch f.Name[0] | ' ' { // x-ratelimit-…, anthropic-ratelimit-…, ratelimit…, retry-after
		case 'x', 'a', 'r':
		default:
			continue
		}
		if h == nil {
			if !limit.MayTell(f.Name) {
				continue
			}
			h = x.p.said.Get().(*limit.Headers) //nolint:forcetypeassert // the pool holds nothing else
			h.Reset()
		}
		h.Add(f.Name, f.Value, x.attempt.answered)
	}
	return h
}

// limitsRefused tells what a 429 means: that requests come too fast, or that there is no money left, which has nothing to do with how fast they come.
func (x *Exchange) limitsRefused() {
	if x.status != http.StatusTooManyRequests || !x.pace.turn.Held() {
		return
	}
	h, now := x.pace.heard, x.attempt.answered // as the others are told of, however long the body took
	verdict, after := limit.Other, time.Duration(0)
	if !x.unpaid() && !x.neverFits() {
		verdict = limit.Limited
		x.target.metrics.limited.Inc()
		said := false
		if h != nil {
			after, said = h.RetryAfter(now)
		}
		if !said {
			after = 0
		}
	}
	switch x.pace.of.Answered(now, &x.pace.turn, verdict, h, after, rand.Float64()) {
	case limit.Episode:
		x.countLimited(true)
	case limit.More:
		x.countLimited(false)
	case limit.Nothing:
		x.attempt.alone = verdict == limit.Limited
	}
	if after == 0 && x.pace.of.Trusted(time.Now()) { // it goes on as there is room: until a limit is whole again would be too long
		x.retryAfter = 0
	}
	x.forgetHeard()
}

// neverFits tells whether the answer says that the request alone is more than the limit of tokens: it says nothing of how fast requests come.
func (x *Exchange) neverFits() bool {
	return bytes.Contains(x.errorText(), []byte("Request too large"))
}

// unpaid tells whether the answer says that an account is empty.
func (x *Exchange) unpaid() bool {
	return provider.TroubleOf(x.status, x.meterKind(), x.errorText()) == provider.Unpaid
}

func (x *Exchange) forgetHeard() {
	if x.pace.heard != nil {
		x.p.said.Put(x.pace.heard)
		x.pace.heard = nil
	}
}
