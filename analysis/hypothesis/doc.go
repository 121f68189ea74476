// Package hypothesis asks whether two samples differ, by how much, and whether the answer holds among hundreds of questions.
//
// A test returns a [Result]: never only a p-value, but the size of the effect with its interval. [Result.Judge] demands both a
// small p-value and an effect worth acting on; with thousands of requests everything is significant and little matters.
//
//	rates of errors                G-test with Williams' correction, Fisher's exact test where cells are sparse
//	latency, from histograms too   Mann-Whitney with the Hodges-Lehmann ratio
//	cost                           Welch on winsorised values (Yuen)
//	diagnosis                      Kolmogorov-Smirnov, chi-squared, Student's t
//
// Neighbouring ticks of a series resemble each other and are worth fewer than as many independent ones. [Series] measures that and
// every test takes it into account; without it a test at 5 % finds a difference where there is none in a third of cases with a
// lag-1 autocorrelation of .6.
package hypothesis
