// Package limit says who may send how much, and how fast providers want it. It is pure: times and random draws are arguments, so that it runs in virtual time as it
// does in the proxy, and it knows nothing of exchanges, servers and settings.
//
//	Set          rules for callers, routes and targets; Reserve takes an estimate from all of them or none, Settle puts the real usage in its place
//	Queue        those that wait for room: fair among callers, in order of their deadlines, never longer than is worth it
//	Headers      what a provider says of its own limits
//	Pacer        how fast to send with one key to one model: by those headers, or by trial where there are none
//	Concurrency  how many attempts at a time suit a target
//	Estimator    how many tokens a request will be, before anybody has counted them
//
// Amounts are integers of one unit: requests, tokens, attempts or NanoUSD. Sums saturate, they never overflow. Times are taken from the monotonic clock where now
// carries it, but for calendar windows. Clocks that are set back or forward never open a limit twice nor close it for longer than its window.
//
// Everything is safe for concurrent use where its comment does not say otherwise. Reserving and settling allocate nothing.
package limit
