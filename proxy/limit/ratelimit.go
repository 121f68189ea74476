package limit

import (
	"bytes"
	"math"
	"time"

	"github.com/cespare/xxhash/v2"
)

// fields reads the field RateLimit of the IETF's drafts: "default";r=50;t=30 of draft 8 and later, limit=100, remaining=50, reset=30 of draft 7.
func (h *Headers) fields(value []byte, now time.Time) (told bool) {
	for len(value) > 0 {
		var item, params, name []byte
		item, value = cut(value, ',')
		name, params = cut(item, ';')
		if key, n, ok := bytes.Cut(name, []byte("=")); ok { // draft 7
			v := map7(bytes.TrimSpace(key))
			told = v != 0 && h.put(slot{family: byPolicy, of: Requests}, v, bytes.TrimSpace(n), now) || told
			continue
		}
		p := parse(params)
		s := slot{family: byPolicy, policy: xxhash.Sum64(unquote(name)), of: p.of}
		if p.of == dimensions {
			continue
		}
		for i := range h.n { // the policy may have told the unit
			if h.slots[i].family == byPolicy && h.slots[i].policy == s.policy {
				s.of = h.slots[i].of
			}
		}
		if p.r < 0 {
			continue
		}
		if r := h.at(s); r != nil {
			r.Remaining, told = p.r, true
			if p.t >= 0 && time.Duration(p.t) <= maxWait/time.Second {
				r.Reset = now.Add(time.Duration(p.t) * time.Second)
			}
		}
	}
	return told
}

// policies reads the field RateLimit-Policy: "default";q=100;w=60 of draft 8 and later, 100;w=60 of those before.
func (h *Headers) policies(value []byte) (told bool) {
	for len(value) > 0 {
		var item, params, name []byte
		item, value = cut(value, ',')
		name, params = cut(item, ';')
		p := parse(params)
		s := slot{family: byPolicy, of: p.of}
		if n, ok := count(name); ok {
			p.q = n
		} else {
			s.policy = xxhash.Sum64(unquote(name))
		}
		if p.q < 0 || p.of == dimensions {
			continue
		}
		for i := range h.n { // what is left may have been told before, without the unit
			if o := &h.slots[i]; o.family == byPolicy && o.policy == s.policy && s.policy != 0 {
				o.of, h.readings[i].Of = s.of, s.of
			}
		}
		r := h.at(s)
		if r == nil || r.Limit >= 0 && r.Limit != p.q { // of several without names, the one that the limit is of
			continue
		}
		r.Limit, told = p.q, true
		if p.w > 0 && time.Duration(p.w) <= maxWait/time.Second {
			r.Window = time.Duration(p.w) * time.Second
		}
	}
	return told
}

func map7(key []byte) verb {
	switch string(key) {
	case "limit":
		return saysLimit
	case "remaining":
		return saysRemaining
	case "reset":
		return saysReset
	}
	return 0
}

// parameters of an item; -1: not there.
type parameters struct {
	q, w, r, t int64
	of         Dimension // dimensions: of something else
}

func parse(params []byte) parameters {
	p := parameters{q: -1, w: -1, r: -1, t: -1, of: Requests}
	for len(params) > 0 {
		var one []byte
		one, params = cut(params, ';')
		key, value, _ := bytes.Cut(one, []byte("="))
		if string(key) == "qu" {
			p.of = unitNamed(unquote(value))
			continue
		}
		n, ok := count(value)
		if !ok || n == math.MaxInt64 {
			continue
		}
		switch string(key) {
		case "q":
			p.q = n
		case "w":
			p.w = n
		case "r":
			p.r = n
		case "t":
			p.t = n
		}
	}
	return p
}

func unitNamed(unit []byte) Dimension {
	switch string(unit) {
	case "requests":
		return Requests
	case "tokens":
		return Tokens
	case "input-tokens":
		return InputTokens
	case "output-tokens":
		return OutputTokens
	case "concurrent-requests":
		return Concurrent
	}
	return dimensions
}

// cut splits at the first separator that stands outside of quotes.
func cut(s []byte, sep byte) (before, after []byte) {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && quoted:
			i++
		case s[i] == '"':
			quoted = !quoted
		case s[i] == sep && !quoted:
			return bytes.TrimSpace(s[:i]), bytes.TrimSpace(s[i+1:])
		}
	}
	return bytes.TrimSpace(s), nil
}

func unquote(s []byte) []byte { return bytes.Trim(s, `"`) }
