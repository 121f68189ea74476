package proxy

import (
	"bytes"
	"math"
	"strconv"
	"time"

	"llm-auto-optimizer/config"
	"llm-auto-optimizer/proxy/limit"
	"llm-auto-optimizer/proxy/provider"
)

func kindOfRefusal(r *limit.Refusal) *kindOfFailure {
	if r.Limit.Of == limit.Spend {
		return &overBudget
	}
	return &overLimit
}

// patience is the longest wait that official SDKs take from an answer. After a longer one they would come again too early, and so are told not to.
const patience = time.Minute

// explainRefusal is what the client is told of a limit: which it was, whose, and when to come again.
func (x *Exchange) explainRefusal(f *provider.Failure) {
	r := &x.refusal
	b := append(make([]byte, 0, 200), "The limit of "...)
	b = appendLimit(b, &r.Limit)
	if l := x.settings.limits.named[r.Rule]; l != nil {
		b = x.appendWhose(b, l)
	}
	if r.Never {
		b = append(b, " is less than this request is thought to need."...)
	} else {
		b = append(b, " is used up. Try again in "...)
		b = append(append(b, config.FormatDuration(roundedUp(r.Retry))...), '.')
	}
	f.Message = string(b)
}

// roundedUp is a wait as people read it, never shorter than it is.
func roundedUp(d time.Duration) time.Duration {
	unit := time.Millisecond
	if d > 10*time.Second {
		unit = time.Second
	}
	return (d + unit - 1).Truncate(unit)
}

// appendLimit says what may not be exceeded, such as 600 requests per minute.
func appendLimit(b []byte, l *limit.Limit) []byte {
	if l.Of == limit.Spend {
		b = appendUSD(append(b, '$'), config.NanoUSD(l.Most))
	} else {
		b = append(append(strconv.AppendInt(b, l.Most, 10), ' '), l.Of.String()...)
		if l.Most == 1 {
			b = bytes.TrimSuffix(b, []byte("s"))
		}
	}
	if l.Per != 0 {
		b = append(append(b, " per "...), l.Per.String()...)
	}
	return b
}

// appendWhose says whose limit it is, as far as the client knows the names.
func (x *Exchange) appendWhose(b []byte, l *config.Limit) []byte {
	switch l.Caller {
	case config.ScopeAll:
		b = append(b, " for all callers"...)
	case config.ScopeEach:
		if b = append(b, " for this caller"...); x.known != nil {
			b = append(append(b, ", "...), x.known.name...)
		}
	default:
		b = append(append(b, " for the caller "...), l.Caller...)
	}
	switch l.Route {
	case config.ScopeAll:
	case config.ScopeEach:
		b = append(append(b, " on the route "...), x.wantedRoute()...)
	default:
		b = append(append(b, " on the route "...), l.Route...)
	}
	if l.Target != config.ScopeAll && x.target != nil {
		b = append(append(b, " at the target "...), x.target.name...)
	}
	return b
}

// wantedRoute is the route that the request matches, also before it is on its way there.
func (x *Exchange) wantedRoute() string {
	if r := x.settings.routes.match(x); r != nil {
		return r.name
	}
	return directRoute
}

// appendRetry says when to come again: exact in milliseconds for SDKs that know that header, in whole seconds for all.
func (x *Exchange) appendRetry(b []byte) []byte {
	if x.refusal.Never {
		return append(b, "x-should-retry: false\r\n"...)
	}
	ms := int64(math.Ceil(float64(x.retryAfter) / float64(time.Millisecond)))
	b = appendLength(b, "Retry-After", (ms+999)/1000)
	b = appendLength(b, "retry-after-ms", ms)
	if x.retryAfter > patience {
		b = append(b, "x-should-retry: false\r\n"...)
	}
	return b
}

// appendRefusal names the limit in the way, for programs.
func (x *Exchange) appendRefusal(b []byte) []byte {
	r := &x.refusal
	b = append(appendName(b, "x-llmopt-limit"), r.Rule...)
	b = append(append(b, "; of="...), unitName(r.Limit.Of)...)
	if r.Limit.Per != 0 {
		b = append(append(b, "; per="...), r.Limit.Per.String()...)
	}
	b = append(b, "; most="...)
	b = appendAmount(b, &r.Limit, r.Limit.Most)
	b = append(b, "; left="...)
	b = appendAmount(b, &r.Limit, r.Left)
	if l := x.settings.limits.named[r.Rule]; l != nil {
		b = append(append(b, "; caller="...), l.Caller...)
		b = append(append(b, "; route="...), l.Route...)
		b = append(append(b, "; target="...), l.Target...)
	}
	return append(b, "\r\n"...)
}

// unitName is what a limit counts, as headers have it (those of the IETF's draft on rate limits, and in their manner).
func unitName(of limit.Dimension) string {
	switch of {
	case limit.InputTokens:
		return "input-tokens"
	case limit.OutputTokens:
		return "output-tokens"
	case limit.Tokens:
		return "tokens"
	case limit.Concurrent:
		return "concurrent-requests"
	case limit.Spend:
		return "micro-usd"
	default:
		return "requests"
	}
}

// appendAmount appends a number of the limit's unit.
func appendAmount(b []byte, l *limit.Limit, n int64) []byte {
	if l.Of == limit.Spend {
		n /= 1000
	}
	return strconv.AppendInt(b, n, 10)
}

// maxShownLimits is of how many limits the headers tell.
const maxShownLimits = 8

// appendLimits tells how the limits stand that the exchange is under, as the IETF's draft on rate limit headers has it
// (draft-ietf-httpapi-ratelimit-headers-10).
func (x *Exchange) appendLimits(b []byte, now time.Time) []byte {
	if !x.p.gate.Rules(limit.Exchange) || x.settings.limits.named == nil {
		return b
	}
	q := limit.Request{Caller: x.who, Route: x.routeID(), Part: limit.Exchange}
	var room [maxShownLimits]limit.Standing
	all := x.p.gate.Set().Standings(room[:0], now, &q)
	shown := 0
	for i := range all {
		s := &all[i]
		ofAll := s.Limit.Of == limit.Spend && s.Caller == 0 && !s.Shared // what all may spend together is nobody's business
		if !s.Observe && !ofAll && shown < maxShownLimits {
			all[shown] = *s
			shown++
		}
	}
	if shown == 0 {
		return b
	}
	b = appendName(b, "RateLimit-Policy")
	for i := range all[:shown] {
		l := &all[i].Limit
		b = append(appendItem(b, &all[i], i), ";q="...)
		b = appendAmount(b, l, l.Most)
		if l.Of != limit.Requests {
			b = append(append(append(b, `;qu="`...), unitName(l.Of)...), '"')
		}
		if l.Per != 0 {
			b = append(b, ";w="...)
			b = strconv.AppendInt(b, int64(l.Per.Length()/time.Second), 10)
		}
	}
	b = appendName(append(b, "\r\n"...), "RateLimit")
	for i := range all[:shown] {
		b = append(appendItem(b, &all[i], i), ";r="...)
		b = appendAmount(b, &all[i].Limit, all[i].Left)
		if reset := all[i].Reset; reset > 0 {
			b = append(b, ";t="...)
			b = strconv.AppendInt(b, int64((reset+time.Second-1)/time.Second), 10)
		}
	}
	return append(b, "\r\n"...)
}

// appendItem names a limit in a list: its rule, what it counts, and over which time.
func appendItem(b []byte, s *limit.Standing, i int) []byte {
	if i > 0 {
		b = append(b, ", "...)
	}
	b = append(append(append(append(b, '"'), s.Rule...), '-'), unitName(s.Limit.Of)...)
	if s.Limit.Per != 0 {
		b = append(append(b, '-'), s.Limit.Per.String()...)
	}
	return append(b, '"')
}
