// Package stats judges the statistics of the product on labelled public series: anomaly detectors by the Numenta Anomaly
// Benchmark, changepoint detectors by the Turing Change Point Dataset. Data is read where it lies and never copied.
package stats
