// Package anomaly says whether a tick of a series, or a single value, is unlike what the series usually does.
//
//	Ensemble     the one to use for ticks: the mean of five scores, reported when it stands out
//	RobustZ      single values against the median of recent ones, on logarithms
//	Chart        EWMA control chart: a small shift of the level
//	SPOT, DSPOT  a threshold for a stated probability, from the tail
//	Season       what the half hour of the day and of the week leads one to expect
//	Normaliser   latency without the sizes of the requests
//
// # The ensemble
//
// On the 31 public series that the project may look at, scored as the Numenta Anomaly Benchmark does, it reaches 80.7 (standard), 73.4
// (reward low FP) and 85.5 (reward low FN) with the best threshold and 80.1 standard with the one that ships; ARTime, the best
// published, has 78.2, 70.4 and 83.1 there. `llmopt bench stats` repeats that, with figures for held-out series next to them: those are
// the ones to expect elsewhere. What was learned on the way:
//
//   - Scores of absolute novelty (first visits, new extremes) carry more than probabilities that each score is normalised to: a
//     series then normalises away what sets it apart. Alone, extremes fell from 56 to 41 that way.
//   - Looking at a value on its own scale and on the logarithm, with bins that go on beyond what was seen, is worth more than any other
//     single thing.
//   - Of a score that stays high only the beginning is news: without the memory of recent scores it is worth about 15 points less.
//   - Of thirteen constants that were moved by a third to a factor of two, one at a time, eleven cost at most 4 points; the factor by
//     which a score has to stand out costs up to 7.
package anomaly
