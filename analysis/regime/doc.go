// Package regime says whether the level of a series has changed for good, as soon as that can be known, and since when.
//
//	ErrorRate     a rise of the rate of bad outcomes, per attempt: Bernoulli CUSUM
//	Shift         a change of level of latency, throughput or cost, per attempt or per tick: FOCuS on normal scores
//	Decline       a fall of the mean of a bounded score, such as quality: e-detector
//	Segment       all changes of a finished series: PELT
//	RunLength     how long the present regime has lasted: BOCPD
//
// The first three raise alarms and are asked for a rate of false ones: so many values in which nothing changes, on average, between two
// of them. The thresholds behind that come from simulation (thresholds.go, written by bench/calibrate). With hundreds of series each
// has to be asked for less, and decisions go through the false discovery rate of package hypothesis besides. The last two explain;
// they raise no alarm.
//
// # Why normal scores
//
// The run length of a CUSUM between false alarms depends on the tails of what it sums up: taken from standardised values, a threshold that
// holds on normal noise is passed several times as often on Student's t. A score among the last 2,048 values has the same distribution
// whatever the noise, and a baseline that moves makes of slow drifts what they are, no change. What is left is autocorrelation,
// which an estimate of the lag-1 coefficient takes out, and the uncertainty of the highest ranks, which winsorising at two standard
// deviations takes out: at three, AR(1) noise of .4 had run lengths 20 % too long, at two 2 %.
package regime
