// Package window keeps what happened lately: every finished attempt goes into log-linear histograms and exact counters, per
// target, route, class and arm, rolled up over 10 seconds, minutes and hours. The request path writes, without locks and
// without allocating; the optimizer, the metrics and the commands read, and never make a writer wait.
//
// # Memory layout
//
//	Recorder ── map[Key]*Series (copied on write) + one overflow series for everything past the cap
//
//	Series    open slots, one a 10 s slot               sealed slots: one compact blob each
//	          ┌────────┬────────┬────────┬───────┐ seal ┌──────────┐ push ┌───────────┐ push ┌───────────┐
//	 Record ─▶│  k-1   │   k    │  k+1   │ spill │ ───▶ │ 6 × 10 s │ ───▶ │ 60 × 1 min│ ───▶ │ 168 × 1 h │
//	          └────────┴───┬────┴────────┴───────┘      └──────────┘      └───────────┘      └───────────┘
//	                       │
//	          4 shards × 23 counters, and per measure (latency, time to first token, time per output token, cost)
//	          32 pages (octaves) of 64 × uint32, made when first touched; a busy page has one copy for each shard
//
// Every observation is in exactly one place at any time. Sealing swaps each cell of an open slot with zero, so an addition
// falls either before the swap (it is in the sealed slot) or after it (it is in the slot opened next): nothing is lost or
// counted twice. A sealed slot that its ring has no room for is merged into the slot of the next level that contains it;
// after a week it is dropped. A merge adds vectors: counts are added, percentiles are never averaged.
//
// # Time
//
// Slots are aligned to the wall clock (Unix time divided by 10, 60 or 3,600 s), so that the slots of several replicas can be
// added. The caller passes the time in. An owner calls [Recorder.Advance] about once a second, which seals slot k at k+2 and
// opens k+1 ahead of time, so that no request ever does; without it the first writer of a slot seals the old one on its way
// (some 50 µs) and all results stay the same. Writers that come while that happens, or with a time up to a minute behind the
// series, go to the spill slot and count in the slot being opened. A time further back means that the clock was set back: the series
// follows it, and what it recorded under the later times stays under those times. Times before 1970 count as 1970.
//
// # Values
//
// Values are non-negative integers: microseconds for times, NanoUSD for cost. A bucket is the exponent and the top 6 mantissa
// bits: 0 to 127 are exact, above the middle of a bucket is within 0.79 % of every value in it, from 2^37 (38 h, 137 USD)
// on everything falls into the last bucket. Zero is a sample. Negative numbers count as zero. Sums beside the histograms are
// exact; a single value counts there with at most 2^40-1, so that a provider that reports nonsense cannot overflow them.
package window
