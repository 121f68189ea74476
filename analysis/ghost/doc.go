// Package ghost says what caches of other sizes and times to live would have done with the requests that came, by following a sample of
// the keys (SHARDS, Waldspurger et al., FAST 2015).
//
// The cache that it follows keeps what was last asked for (LRU), counts bytes, and stores an answer again when it is asked for after its time. For such
// a cache the time to live does not change what is kept: the contents of the cache of each size are the same part of one stack, and an
// access hits in a cache of size S and time T exactly when fewer than S bytes were asked for since the key was, and the answer
// was stored no more than T ago. One stack and, for each key, the times of storing are therefore enough for all sizes and times.
package ghost
