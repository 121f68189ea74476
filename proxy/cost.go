package proxy

import (
	"math"
	"math/bits"
	"strconv"

	"llm-auto-optimizer/config"
	"llm-auto-optimizer/proxy/provider"
)

// costOf is what an attempt costs: every kind of token at its own rate, summed exactly and rounded once, half up.
// It saturates instead of overflowing; negative counts, which no provider should report, count as zero.
func costOf(u *provider.Usage, r *config.Rates) config.NanoUSD {
	var s picoSum
	s.add(u.Input, r.Input)
	s.add(u.CacheRead, r.CacheRead)
	s.add(u.CacheWrite5m, r.CacheWrite5m)
	s.add(u.CacheWrite1h, r.CacheWrite1h)
	reasoning := min(u.Reasoning, u.Output)
	s.add(u.Output-reasoning, r.Output)
	s.add(reasoning, r.Reasoning)
	s.add(u.AudioInput, r.AudioInput)
	s.add(u.AudioOutput, r.AudioOutput)
	s.add(u.ImageInput, r.ImageInput)
	s.add(u.ImageOutput, r.ImageOutput)
	return addNano(s.nano(), mulNano(u.WebSearches, r.WebSearch))
}

// picoSum is an exact sum of non-negative PicoUSD amounts, 128 bits wide.
type picoSum struct{ hi, lo uint64 }

func (s *picoSum) add(tokens int64, rate config.PicoUSD) {
	if tokens <= 0 || rate <= 0 {
		return
	}
	hi, lo := bits.Mul64(uint64(tokens), uint64(rate))
	var carry uint64
	s.lo, carry = bits.Add64(s.lo, lo, 0)
	s.hi, _ = bits.Add64(s.hi, hi, carry) // eleven products below 2^126 fit
}

func (s *picoSum) nano() config.NanoUSD {
	lo, carry := bits.Add64(s.lo, config.PicoPerNano/2, 0)
	hi := s.hi + carry
	if hi >= config.PicoPerNano {
		return math.MaxInt64
	}
	q, _ := bits.Div64(hi, lo, config.PicoPerNano)
	return config.NanoUSD(min(q, math.MaxInt64)) //nolint:gosec // bounded by min
}

func mulNano(n int64, price config.NanoUSD) config.NanoUSD {
	if n <= 0 || price <= 0 {
		return 0
	}
	hi, lo := bits.Mul64(uint64(n), uint64(price))
	if hi > 0 || lo > math.MaxInt64 {
		return math.MaxInt64
	}
	return config.NanoUSD(lo)
}

func addNano(a, b config.NanoUSD) config.NanoUSD {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

// appendUSD appends an amount as a decimal number of US dollars, exact to the NanoUSD.
func appendUSD(dst []byte, n config.NanoUSD) []byte {
	dst = strconv.AppendInt(dst, int64(n)/1e9, 10)
	frac := int64(n) % 1e9
	if frac == 0 {
		return dst
	}
	dst = append(dst, '.')
	for unit := int64(1e8); frac > 0; unit /= 10 {
		dst = append(dst, byte('0'+frac/unit))
		frac %= unit
	}
	return dst
}
