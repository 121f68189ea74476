package flight

// Reader is a follower's place in a flight. It is for one goroutine.
type Reader[H, E any] struct {
	f    *Flight[H, E]
	at   *piece
	off  int // in it
	read int // bytes
	left bool
}

// News is what a reader finds: one of these.
type News[E any] struct {
	Bytes  []byte          // not to be written to; they stay valid
	End    *E              // how it ended, once all bytes were read
	Behind bool            // the reader has fallen so far behind that it does not get the rest
	Wait   <-chan struct{} // closed when there may be more
	Held   uint64          // beside Wait of HeadOrEnd: what Hold was told last
}

// Next is what has come since. It does not wait.
func (r *Reader[H, E]) Next() (n News[E]) {
	f := r.f
	f.mu.Lock()
	defer f.mu.Unlock()
	for r.off == len(r.at.bytes) && r.at.next != nil {
		r.at, r.off = r.at.next, 0
	}
	switch {
	case f.size-r.read > f.group.o.Lag:
		n.Behind = true
	case r.off < len(r.at.bytes):
		n.Bytes = r.at.bytes[r.off:len(r.at.bytes):len(r.at.bytes)]
		r.off, r.read = len(r.at.bytes), r.read+len(n.Bytes)
	case f.end != nil:
		n.End = f.end
	default:
		n.Wait = f.wait()
	}
	return n
}

// HeadOrEnd is what a follower waits for at first: the head, or an end without one.
func (r *Reader[H, E]) HeadOrEnd() (head *H, n News[E]) {
	f := r.f
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.head != nil:
		return f.head, n
	case f.end != nil:
		n.End = f.end
	default:
		n.Wait, n.Held = f.wait(), f.held
	}
	return nil, n
}

// wait is closed at the next change. f.mu is held.
func (f *Flight[H, E]) wait() <-chan struct{} {
	if f.news == nil {
		f.news = make(chan struct{})
	}
	return f.news
}

// Leave ends the following. Where nobody wants the answer any more, the leader's work is cut.
func (r *Reader[H, E]) Leave() {
	f := r.f
	f.mu.Lock()
	if r.left {
		f.mu.Unlock()
		return
	}
	r.left = true
	f.followers--
	f.group.follow.Add(-1)
	unwanted := f.followers == 0 && f.orphan && f.end == nil
	f.closed = f.closed || unwanted
	f.mu.Unlock()
	if unwanted {
		f.group.remove(f)
		f.cut()
	}
}
