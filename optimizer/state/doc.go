// Package state keeps what an optimizer must not forget: it stores the windows as they are completed, the totals each second, policy
// snapshots and the journal, and restores them when the program starts. It runs in the background; the request path never waits for
// it. What it can't store stays in memory, and is stored when that is possible again.
package state
