// Package simulate runs scenarios: a route over simulated targets, traffic, incidents, and what is expected of the whole, in virtual time. The production
// strategy is the picker, the reflexes and the windows of the proxy themselves; the others are re-implementations of what other gateways do.
//
// A run is a function of the scenario, the strategy and the seed. All strategies meet the same arrivals, sizes and luck with the same seed (common
// random numbers), so that their difference is theirs.
package simulate
