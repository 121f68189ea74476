// Package optimizer is the closed loop: it takes in what exchanges came to, decides by it how traffic is spread over the targets of a route and what is
// done beside a first attempt, and publishes that as the next policy snapshot, within bounds. Everything a decision depends on is in its [Evidence], and
// tuners are pure functions of it, so that a past decision can be computed again. The package has no clock and no goroutine of its own: it runs in
// virtual time too.
package optimizer
