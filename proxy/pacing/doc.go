// Package pacing keeps to the limits of providers. For each key and model there is a Pace: what is known of its limits, and those that wait for room. It is the pacers of
// package limit with clocks and goroutines; a Table holds the paces.
package pacing
