package simulate

import (
	"llm-auto-optimizer/optimizer"
	"llm-auto-optimizer/proxy/pick"
)

// The optimizer's strategy with a part left out, which shows what the part is worth.
const (
	NoEjection = Optimized + "-no-ejection"
	NoAffinity = Optimized + "-no-affinity"
	NoFloor    = Optimized + "-no-floor"
)

func withoutEjection(w *world) strategy { return newOptimized(noReflexes(w)) }

func withoutAffinity(w *world) strategy {
	s := *w.Scenario
	s.Route.Affinity = false
	w.Scenario = &s
	return newOptimized(w)
}

// withoutFloor leaves each target the least share that the guard can take away again, which is hardly an exchange. The picker's own exploration stays.
func withoutFloor(w *world) strategy {
	routing := optimizer.DefaultRouting
	routing.MinShare = 1e-4
	return newTuned(w, routing, optimizer.DefaultTimeouts)
}

// noReflexes is the strategy's route without ejection.
func noReflexes(w *world) *world {
	s := *w.Scenario
	s.Route.Ejection = pick.Ejection{Off: true}
	w.Scenario = &s
	return w
}
