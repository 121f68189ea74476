// Package analysis is the project's statistics: pure arithmetic on values, ticks and histograms, with no I/O, no goroutine and
// no clock of its own. Times and random draws are arguments, so that the same input gives the same answer.
//
// This package describes samples and streams: moments, quantiles, averages that forget, regressions and fitted distributions, and
// how long an answer stays true. Its subpackages decide:
//
//	anomaly     is this tick unlike what this series usually does?
//	regime      has the level of this series changed for good, and since when?
//	trend       where is it heading, and when is the budget used up?
//	hypothesis  do two samples differ, by how much, and does it hold among hundreds of such questions?
//	ghost       what would a cache of another size, or time to live, have saved?
//	learn       workload classes, bandits, confidence under peeking, what-if estimates, linear programmes
//
// Every function that needs more data than it was given says so with its second result, false: "not enough data" is an answer,
// never a panic. NaN and infinite values are not data: they are left out, and counted where that matters. Whatever fires
// carries a [Reason].
//
// Nothing here is safe for concurrent use unless it says so.
package analysis
