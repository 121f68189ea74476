package sim

import "time"

// appendQuotaHeaders appends what a quota says of itself, in the dialect's spelling, after what the request took. It is false where there is no quota.
func (x *exchange) appendQuotaHeaders(b []byte) ([]byte, bool) {
	if !x.srv.quota.on.Load() && x.use.entry == nil {
		return b, false
	}
	if x.use.entry == nil || x.use.quota.spelling == unspelled {
		return b, true
	}
	s := &x.use.stands
	switch {
	case x.dialect == dialectAnthropic:
		return x.appendAnthropicQuota(b, s), true
	case x.dialect == dialectGemini: // says nothing
	case x.use.quota.spelling == spelledAsMistral:
		b = appendMistralQuota(b, "req", &s[measureRequests])
		b = appendMistralQuota(b, "tokens", &s[measureTokens])
	default:
		azure := x.azure()
		b = appendOpenAIQuota(b, "requests", &s[measureRequests], azure)
		b = appendOpenAIQuota(b, "tokens", &s[measureTokens], azure)
	}
	return b, true
}

// appendOpenAIQuota appends the three headers of a limit: times until a limit is whole again are durations with OpenAI, and seconds with Azure.
func appendOpenAIQuota(b []byte, name string, s *standing, azure bool) []byte {
	if s.period == 0 {
		return b
	}
	reset := short(s.reset)
	if azure {
		reset = itoa(ceilSeconds(s.reset))
	}
	b = appendField(b, "x-ratelimit-limit-"+name, decimal(s.limit))
	b = appendField(b, "x-ratelimit-remaining-"+name, decimal(s.left))
	return appendField(b, "x-ratelimit-reset-"+name, reset)
}

// appendMistralQuota appends what Mistral says: the period stands in the name, and no reset.
func appendMistralQuota(b []byte, name string, s *standing) []byte {
	if s.period == 0 {
		return b
	}
	name += "-" + periodName(s.period)
	b = appendField(b, "x-ratelimit-limit-"+name, decimal(s.limit))
	return appendField(b, "x-ratelimit-remaining-"+name, decimal(s.left))
}

func (x *exchange) appendAnthropicQuota(b []byte, s *standings) []byte {
	now := x.now().UTC()
	one := func(name string, s *standing, grain int64) {
		if s.period == 0 {
			return
		}
		left := s.left
		if s.limit >= 10*grain {
			left = (left + grain/2) / grain * grain
		}
		reset := now.Add(s.reset + time.Second - 1).Truncate(time.Second)
		b = appendField(b, "anthropic-ratelimit-"+name+"-limit", decimal(s.limit))
		b = appendField(b, "anthropic-ratelimit-"+name+"-remaining", decimal(left))
		b = appendField(b, "anthropic-ratelimit-"+name+"-reset", reset.Format(time.RFC3339))
	}
	const thousand = 1000 // tokens are told rounded to it
	one("requests", &s[measureRequests], 1)
	one("input-tokens", &s[measureInput], thousand)
	one("output-tokens", &s[measureOutput], thousand)
	both := &s[measureTokens] // the most restrictive limit in effect
	for _, m := range []measure{measureInput, measureOutput} {
		if s[m].period > 0 && (both.period == 0 || s[m].left*both.limit < both.left*s[m].limit) {
			both = &s[m]
		}
	}
	one("tokens", both, thousand)
	return b
}

func appendField(b []byte, name, value string) []byte {
	b = append(b, name...)
	b = append(b, ": "...)
	b = append(b, value...)
	return append(b, "\r\n"...)
}
