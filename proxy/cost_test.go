package proxy

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"

	"llm-auto-optimizer/config"
	"llm-auto-optimizer/proxy/provider"
)

func TestCost(t *testing.T) {
	t.Parallel()
	check := func(u provider.Usage, r config.Rates, want config.NanoUSD) {
		t.Helper()
		if got := costOf(&u, &r); got != want {
			t.Errorf("costOf(%+v, %+v): got %d, want %d", u, r, got, want)
		}
	}
	rates := config.Rates{
		Input: 2_500_000, CacheRead: 1_250_000, CacheWrite5m: 3_125_000, CacheWrite1h: 5_000_000, Output: 10_000_000, Reasoning: 12_000_000,
		AudioInput: 40_000_000, AudioOutput: 80_000_000, ImageInput: 5_000_000, ImageOutput: 30_000_000, WebSearch: 10_000_000,
	}
	check(provider.Usage{}, rates, 0)
	check(provider.Usage{Input: 1000}, rates, 2_500_000)
	check(provider.Usage{CacheRead: 1000}, rates, 1_250_000)
	check(provider.Usage{CacheWrite5m: 1000, CacheWrite1h: 1000}, rates, 8_125_000)
	check(provider.Usage{Output: 1000, Reasoning: 400}, rates, 6_000_000+4_800_000) // reasoning is part of output
	check(provider.Usage{Output: 100, Reasoning: 400}, rates, 1_200_000)            // more reasoning than output: no more than output
	check(provider.Usage{AudioInput: 10, AudioOutput: 10, ImageInput: 10, ImageOutput: 10}, rates, 400_000+800_000+50_000+300_000)
	check(provider.Usage{WebSearches: 3}, rates, 30_000_000)
	check(provider.Usage{Input: -5, WebSearches: -1}, rates, 0)
	check(provider.Usage{Input: 1}, config.Rates{Input: 499}, 0)                       // rounded half up, once:
	check(provider.Usage{Input: 1}, config.Rates{Input: 500}, 1)                       //
	check(provider.Usage{Input: 1, Output: 1}, config.Rates{Input: 499, Output: 1}, 1) // the sum, not each kind
	check(provider.Usage{Input: math.MaxInt64}, config.Rates{Input: math.MaxInt64}, math.MaxInt64)
	check(provider.Usage{Input: math.MaxInt64, Output: math.MaxInt64}, config.Rates{Input: 1000, Output: 1000}, math.MaxInt64)
	check(provider.Usage{WebSearches: math.MaxInt64}, config.Rates{WebSearch: 2}, math.MaxInt64)
}

func TestCost_AgreesWithBigIntegers(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		n := func() int64 { return rng.Int64() >> rng.IntN(63) }
		u := provider.Usage{Input: n(), CacheRead: n(), Output: n(), AudioInput: n()}
		r := config.Rates{Input: config.PicoUSD(n()), CacheRead: config.PicoUSD(n()), Output: config.PicoUSD(n()), AudioInput: config.PicoUSD(n())}
		sum := new(big.Int)
		for _, p := range [][2]int64{{u.Input, int64(r.Input)}, {u.CacheRead, int64(r.CacheRead)}, {u.Output, int64(r.Output)}, {u.AudioInput, int64(r.AudioInput)}} {
			sum.Add(sum, new(big.Int).Mul(big.NewInt(p[0]), big.NewInt(p[1])))
		}
		sum.Add(sum, big.NewInt(500)).Quo(sum, big.NewInt(1000))
		want := config.NanoUSD(math.MaxInt64)
		if sum.IsInt64() {
			want = config.NanoUSD(sum.Int64())
		}
		if got := costOf(&u, &r); got != want {
			t.Fatalf("costOf(%+v, %+v): got %d, want %d", u, r, got, want)
		}
	}
}

func TestAppendUSD(t *testing.T) {
	t.Parallel()
	check := func(n config.NanoUSD, want string) {
		t.Helper()
		if got := string(appendUSD(nil, n)); got != want {
			t.Errorf("%d: got %q, want %q", n, got, want)
		}
	}
	check(0, "0")
	check(1, "0.000000001")
	check(1_500_000_000, "1.5")
	check(12_000_000_000, "12")
	check(1_000_000_010, "1.00000001")
	check(math.MaxInt64, "9223372036.854775807")
}
