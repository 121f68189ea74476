package config

import "time"

// Optimizer says what the optimizer may change of the routes, how far, and how fast.
type Optimizer struct {
	Enabled  bool            `koanf:"enabled"`
	Holdback Fraction        `koanf:"holdback" allow:"0..0.5"`      // of the sessions, that stay on the operator's settings
	Deadline time.Duration   `koanf:"deadline" allow:"100ms..1m"`   // of one cycle
	MaxStep  Fraction        `koanf:"max_step" allow:"0.01..1"`     // of the traffic, that may move in 20 seconds
	MaxMove  Fraction        `koanf:"max_move" allow:"0.01..10"`    // of the traffic, that may move in ten minutes
	MinMove  Fraction        `koanf:"min_move" allow:"0.001..0.5"`  // of the traffic, that a decision must move
	CoolDown time.Duration   `koanf:"cool_down" allow:"0s..24h"`    // between two decisions of a route
	PerHour  int             `koanf:"max_per_hour" allow:"1..3600"` // decisions of a route
	Routing  RoutingTuner    `koanf:"routing"`
	Timeouts TimeoutsTuner   `koanf:"timeouts"`
	Budget   BudgetTuner     `koanf:"budget"`
	Caching  CachingTuner    `koanf:"caching"`
	Limits   LimitsTuner     `koanf:"limits"`
	Canary   OptimizerCanary `koanf:"canary"`
}

// RoutingTuner is the tuner of the shares of targets.
type RoutingTuner struct {
	Mode       string   `koanf:"mode" allow:"observe, recommend, canary, auto"`
	MinShare   Fraction `koanf:"min_share" allow:"0, 0.0001..0.2"` // of each target that has a weight
	MaxShare   Fraction `koanf:"max_share" allow:"0.5..1"`
	MinSaving  Fraction `koanf:"min_saving" allow:"0..1"`      // of the cost, that makes a change worth it
	Confidence Fraction `koanf:"confidence" allow:"0.5..0.99"` // that a mix keeps the objective
	MinCount   int      `koanf:"min_count" allow:"1..100000"`  // exchanges of a target before it is judged
}

// TimeoutsTuner is the tuner of deadlines and of the budgets of repetitions and hedges.
type TimeoutsTuner struct {
	Mode string `koanf:"mode" allow:"observe, recommend, canary, auto"`
}

// BudgetTuner is the tuner that has routing press harder for a cheaper mix while a budget is likely to be used up too early.
type BudgetTuner struct {
	Mode string `koanf:"mode" allow:"observe, recommend, canary, auto"`
}

// CachingTuner is the tuner of the cache.
type CachingTuner struct {
	Mode      string        `koanf:"mode" allow:"observe, recommend, auto"`
	MinTTL    time.Duration `koanf:"min_ttl" allow:"1s..365d"`
	MaxTTL    time.Duration `koanf:"max_ttl" allow:"1s..365d"`
	MaxStale  Fraction      `koanf:"max_stale" allow:"0.0001..0.5"` // of the hits
	StaleCost float64       `koanf:"stale_cost" allow:"0..1000"`    // of a stale hit, in answers
}

// LimitsTuner is the tuner of how limits are kept to.
type LimitsTuner struct {
	Mode string `koanf:"mode" allow:"observe, recommend, auto"`
}

// OptimizerCanary is how changes are tried.
type OptimizerCanary struct {
	Time       time.Duration `koanf:"min_time" allow:"10s..24h"`          // of a stage
	Requests   int           `koanf:"min_requests" allow:"50..1000000"`   // of a stage, in the trial and in its control
	Longest    time.Duration `koanf:"max_time" allow:"10m..30d"`          // of a whole trial
	Failures   Fraction      `koanf:"max_failures" allow:"0.0001..0.1"`   // more than in the control, with half of the traffic
	Violations Fraction      `koanf:"max_violations" allow:"0.0001..0.1"` // the same
}

// RouteOptimizer is what a route has in place of what stands in [optimizer].
type RouteOptimizer struct {
	Routing  string `koanf:"routing" allow:"\"\", observe, recommend, canary, auto"` // mode; empty: that of [optimizer.routing]
	Timeouts string `koanf:"timeouts" allow:"\"\", observe, recommend, canary, auto"`
	Budget   string `koanf:"budget" allow:"\"\", observe, recommend, canary, auto"`
	Caching  string `koanf:"caching" allow:"\"\", observe, recommend, auto"`
	Limits   string `koanf:"limits" allow:"\"\", observe, recommend, auto"`
}
