// Package learn holds what the optimizer learns and proves with: workload classes (k-means, DBSCAN, fixed cuts), discounted
// Thompson sampling, confidence that survives peeking (confidence sequences and e-processes), what-if estimates from logged choices
// (doubly robust), and a front for linear programmes that answers degenerate ones with an error.
//
// Whoever looks at a running experiment again and again will find a z-test significant sooner or later: at 5 %, looking after each
// of 3,000 values, in four of ten experiments in which there is nothing to find. The sequences and e-processes here keep
// their promise however often one looks.
package learn
