package proxy

import (
	"encoding/hex"
	"encoding/json"
	"strconv"
	"time"

	"llm-auto-optimizer/analysis/window"
	"llm-auto-optimizer/proxy/cache"
)

// exchange writes the line of an exchange. It runs for every request, so the line is put together by hand: but for the
// detail of a failure nothing in it can need escaping.
func (l *AccessLog) exchange(x *Exchange, now time.Time, o window.Outcome) {
	if l.to == nil {
		return
	}
	b := append(x.out[:0], '{')
	b = logInt(b, "time", x.start.UnixMilli())
	b = logText(b, "id", string(x.id[:]))
	b = logHash(b, "caller", x.caller)
	if x.known != nil {
		b = logText(b, "caller_name", x.known.name)
	}
	b = logHash(b, "session", x.session)
	if x.target != nil || x.cache.result.answers() || x.refusal.Refused() {
		b = logText(b, "route", x.routeName())
		b = logText(b, "class", x.class.String())
		b = logText(b, "arm", x.arm.String())
		b = logTarget(b, x.target)
	} else {
		b = logText(b, "route", "")
		b = logText(b, "class", "")
		b = logText(b, "arm", "")
		b = logText(b, "target", "")
	}
	b = logInt(b, "status", int64(x.status))
	b = logText(b, "outcome", o.String())
	b = logInt(b, "attempts", int64(x.attempts))
	if x.route != nil && x.attempts > 0 {
		b = logText(b, "pick", x.choice.Why.String())
		b = logFloat(b, "propensity", x.choice.Propensity)
	}
	if ttft := x.ttft(); ttft > 0 {
		b = logSeconds(b, "ttft_s", ttft)
	}
	b = logSeconds(b, "duration_s", now.Sub(x.start))
	b = logInt(b, "overhead_us", x.overheadUntil(now).Microseconds())
	b = logInt(b, "tokens_input", uncached(&x.usage))
	b = logInt(b, "tokens_cache_read", x.usage.CacheRead)
	b = logInt(b, "tokens_cache_write", x.usage.CacheWrite5m+x.usage.CacheWrite1h)
	b = logInt(b, "tokens_output", x.usage.OutputTotal())
	b = logInt(b, "tokens_reasoning", x.usage.Reasoning)
	b = logInt(b, "cost_nanousd", int64(x.total))
	b = logBool(b, "estimated", x.estimated)
	b = logBool(b, "unpriced", x.unpriced)
	if x.prompt.arm != promptNone {
		b = logInt(b, "breakpoints", int64(x.prompt.marks))
	}
	if x.cache.result != cacheOff {
		b = logText(b, "cache", x.cache.result.String())
		b = logInt(b, "saved_nanousd", int64(x.cache.saved))
		if x.cache.age >= 0 {
			b = logSeconds(b, "cache_age_s", x.cache.age)
		}
		if x.cache.key != (cache.Key{}) {
			b = logHex(b, "cache_key", x.cache.key[:])
		}
	}
	if x.queued > 0 {
		b = logSeconds(b, "queued_s", x.queued)
	}
	if x.refusal.Refused() {
		b = logText(b, "limit", x.refusal.Rule)
	}
	if x.kind != nil {
		b = logText(b, "error", x.kind.code)
		if x.failure != nil {
			b = logEscaped(b, "detail", x.failure.Error())
		}
	}
	x.out = append(b, "}\n"...)
	l.add(x.out)
}

// logTarget names the target; none where the cache has answered.
func logTarget(b []byte, t *target) []byte {
	if t == nil {
		return logText(b, "target", "")
	}
	return logText(b, "target", t.name)
}

func logKey(b []byte, key string) []byte {
	if b[len(b)-1] != '{' {
		b = append(b, ',')
	}
	return append(append(append(b, '"'), key...), `":`...)
}

// logText is for values that need no escaping.
func logText(b []byte, key, value string) []byte {
	return append(append(append(logKey(b, key), '"'), value...), '"')
}

func logEscaped(b []byte, key, value string) []byte {
	text, _ := json.Marshal(value) // a string has always a form in JSON
	return append(logKey(b, key), text...)
}

func logInt(b []byte, key string, value int64) []byte {
	return strconv.AppendInt(logKey(b, key), value, 10)
}

func logFloat(b []byte, key string, value float64) []byte {
	return strconv.AppendFloat(logKey(b, key), value, 'g', 6, 64)
}

func logBool(b []byte, key string, value bool) []byte {
	return strconv.AppendBool(logKey(b, key), value)
}

func logHash(b []byte, key string, value hashID) []byte {
	return append(value.appendTo(append(logKey(b, key), '"')), '"')
}

func logHex(b []byte, key string, value []byte) []byte {
	return append(hex.AppendEncode(append(logKey(b, key), '"'), value), '"')
}

// logSeconds prints a duration in seconds to the microsecond.
func logSeconds(b []byte, key string, d time.Duration) []byte {
	micros := max(0, d.Microseconds())
	b = strconv.AppendInt(logKey(b, key), micros/1e6, 10)
	if micros %= 1e6; micros == 0 {
		return b
	}
	b = append(b, '.')
	for unit := int64(1e5); micros > 0; unit /= 10 {
		b = append(b, byte('0'+micros/unit))
		micros %= unit
	}
	return b
}
