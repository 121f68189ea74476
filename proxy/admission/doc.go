// Package admission lets requests in as far as limits allow. A Gate holds the limits; those that are over one of them wait in front of it, fairly among callers, until
// there is room, or until waiting is of no use. It is package limit with clocks, goroutines and timers.
package admission
