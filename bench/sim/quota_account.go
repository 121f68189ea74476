package sim

import "time"

// Account is one key's dealings with a provider that has a quota, for simulations in which nothing goes over a wire. Times are taken from its caller. It is not safe for
// concurrent use.
type Account struct{ m meter }

// NewAccount opens an account under q.
func NewAccount(q Quota) *Account {
	a := &Account{}
	a.m.reset(&q)
	return a
}

// Set puts q in the place of the quota, as [Server.SetQuota] does.
func (a *Account) Set(now time.Time, q Quota) { a.m.set(&q, now) }

// Ask asks for a request of so many tokens, all of which it takes when it is let through; it holds a place among those at a time until Done. Else it tells how long
// it will take at least until there is room.
func (a *Account) Ask(now time.Time, input, output int) (wait time.Duration, through bool) {
	asks := need{measureRequests: 1, measureInput: float64(input), measureTokens: float64(input), measureOutput: 1}
	e, r := a.m.admit(0, &asks, now)
	if r != nil {
		return r.wait, false
	}
	takes := need{measureRequests: 1, measureInput: float64(input), measureTokens: float64(input + output), measureOutput: float64(output)}
	a.m.settle(e, &asks, &takes, now)
	return 0, true
}

// Done ends a request that was let through.
func (a *Account) Done() {
	for _, e := range a.m.entries {
		a.m.release(e)
	}
}

// Silent tells that refusals do not say when to come back.
func (a *Account) Silent() bool { return a.m.q.silent }

// Headers appends what the provider says of its limits in an answer that is written now, as HTTP headers in the spelling of OpenAI or the one that the quota asks for.
func (a *Account) Headers(b []byte, now time.Time) []byte {
	if a.m.q.spelling == unspelled {
		return b
	}
	s := a.m.standings(a.m.entry(0, now), now)
	if a.m.q.spelling == spelledAsMistral {
		return appendMistralQuota(appendMistralQuota(b, "req", &s[measureRequests]), "tokens", &s[measureTokens])
	}
	return appendOpenAIQuota(appendOpenAIQuota(b, "requests", &s[measureRequests], false), "tokens", &s[measureTokens], false)
}

// QuotaTotals are sums since the account was opened. Allowed and Taken are by requests, tokens, input and output; what a bucket held at the begin is in neither.
type QuotaTotals struct {
	Allowed, Taken   [measures]float64
	Through, Refused int64
}

// Totals are those of now.
func (a *Account) Totals(now time.Time) QuotaTotals {
	for _, e := range a.m.entries {
		a.m.allow(e, now)
	}
	t := QuotaTotals{Allowed: a.m.stats.allowed, Taken: a.m.stats.taken, Through: a.m.stats.through}
	for _, n := range a.m.stats.refusedBy {
		t.Refused += n
	}
	return t
}
