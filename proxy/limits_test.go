package proxy

import (
	"testing"

	"llm-auto-optimizer/config"
)

// limitedConfig has five limits in force for every caller, none of which is ever used up.
func limitedConfig(upstream string) *config.Config {
	c := testConfig(upstream)
	const plenty = 1_000_000_000
	c.Limits = map[string]config.Limit{"five": {
		Name: "five", Caller: config.ScopeEach, Route: config.ScopeAll, Target: config.ScopeAll, Timezone: "UTC",
		RequestsPerMinute: plenty, InputTokensPerMinute: plenty, OutputTokensPerMinute: plenty, Concurrent: 1000, USDPerDay: "$1000000",
	}}
	return c
}

// Limits add no allocation to an exchange, with their headers.
//
//nolint:paralleltest // it counts the allocations of the whole process
func TestLimits_Allocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates and empties pools")
	}
	for _, bc := range benchCases() {
		client := newBenchClientOf(t, bc, limitedConfig(prepared(t, []byte(bc.answer))), nil)
		for range 100 {
			client.exchange()
		}
		if got := testing.AllocsPerRun(300, client.exchange); got > maxAllocs {
			t.Errorf("%s: %.1f allocations per exchange, want at most %d", bc.name, got, maxAllocs)
		}
	}
}
