// Package pick chooses the target of each attempt and keeps the exchange going when one fails. It is pure: times and random draws
// are arguments, so that it runs in virtual time as it does in the proxy.
//
//	Route    what a client names: targets with their state, fallback chains, budgets
//	Target   a target's state: load, times, and whether its reflexes let traffic through
//	Walk     one exchange's way over the targets: the first choice, and after each failure what to do next
//	Lease    one attempt's claim on a target, released exactly once by Settle
//
// A choice goes down these steps; the first that applies decides:
//
//  1. a pin names the target
//  2. a target that was ejected and may be tried again gets its probe
//  3. exploration: a part of the choices is uniform over all that may be chosen
//  4. prefix affinity: weighted rendezvous within a load bound
//  5. the shares of the policy in force choose among groups of equals
//  6. among equals (same model, price and share) power of two choices on load times latency
//
// Reading a target's state takes no lock, and choosing allocates nothing. Settle takes the target's own mutex for less than a
// microsecond, after the answer has gone out. Everything is safe for concurrent use but Walk and Lease, which belong to their exchange.
package pick
