package simulate

import (
	"llm-auto-optimizer/proxy/pick"
)

// The optimizer's strategy with a part left out, which shows what the part is worth.
const (
	NoEjection = Optimized + "-no-ejection"
	NoAffinity = Optimized + "-no-affinity"
	NoChance   = Optimized + "-no-exploration"
)

func withoutEjection(w *world) strategy { return newOptimized(noReflexes(w)) }

func withoutAffinity(w *world) strategy {
	s := *w.Scenario
	s.Route.Affinity = false
	w.Scenario = &s
	return newOptimized(w)
}

// withoutExploration leaves what is rarely used to the least share that the tuner gives it, which is hardly an exchange.
func withoutExploration(w *world) strategy {
	s := *w.Scenario
	s.Route.Explore = 0
	w.Scenario = &s
	return newOptimized(w)
}

// noReflexes is the strategy's route without ejection.
func noReflexes(w *world) *world {
	s := *w.Scenario
	s.Route.Ejection = pick.Ejection{Off: true}
	w.Scenario = &s
	return w
}
