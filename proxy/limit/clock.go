package limit

// clock never goes back. A time that is behind the last is one that its goroutine read before it had to wait: then it is as late as the last. Where one after the other is behind,
// and they go on, the clock that they are from was set back: the clock goes on from where it was. The clock of a process never is, but others may be used.
type clock struct {
	last   int64 // nanoseconds, as given
	ahead  int64 // of what is given
	behind int   // in a row, by more than slack
	first  int64 // the earliest of them
}

// setBack is how many times in a row are behind, over slack at least, of a clock that was set back.
const setBack = 4

// read is the time for one that was given; steady tells that it is from a clock that is never set.
func (c *clock) read(at int64, steady bool) int64 {
	if back := minus(c.last, at); steady || back <= slack {
		c.last, c.behind = max(c.last, at), 0
	} else if c.behind == 0 || at < c.first {
		c.behind, c.first = 1, at
	} else if c.behind++; c.behind >= setBack && minus(at, c.first) >= slack {
		c.ahead, c.last, c.behind = plus(c.ahead, back), at, 0
	}
	return plus(c.last, c.ahead)
}
