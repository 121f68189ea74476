package limit

// odd notices callers whose requests a provider refuses while those of others are let through: then that is for what they ask for, as a feature that the account has little of, and
// not because requests come too fast. A limit that all share refuses whoever comes.
type odd struct {
	sent, refused int // of all, of late
	n             int
	callers       [oddCallers]oddCaller // who were refused
}

type oddCaller struct {
	who           ID
	sent, refused int // since it was first refused
	all, bad      int // what all had sent by then, and what was refused of that
}

const (
	oddCallers = 8
	oddRefused = 4   // at least, of one caller
	oddSent    = 30  // by all since it was first refused: what was under way then says nothing
	oddPart    = 4   // of all requests one in so many is the caller's, at most: of who is most of all nobody can tell
	oddShare   = .05 // of the caller's requests are refused, at least
	oddTimes   = 8   // as large a share as of others
	oddMemory  = 1 << 12
)

// took is told who sends one.
func (o *odd) took(who ID) {
	if o.n == 0 {
		return
	}
	o.sent++
	if c := o.find(who); c != nil {
		c.sent++
	}
	if o.sent >= oddMemory {
		o.fade()
	}
}

func (o *odd) find(who ID) *oddCaller {
	for i := range o.n {
		if o.callers[i].who == who {
			return &o.callers[i]
		}
	}
	return nil
}

// fade halves what is known. Who is not refused any more is forgotten.
func (o *odd) fade() {
	o.sent, o.refused = o.sent/2, o.refused/2
	kept := 0
	for _, c := range o.callers[:o.n] {
		c.all, c.bad = c.all/2, c.bad/2
		if c.sent, c.refused = c.sent/2, c.refused/2; c.refused > 0 {
			o.callers[kept] = c
			kept++
		}
	}
	if o.n = kept; kept == 0 {
		*o = odd{}
	}
}

// alone is told whose request was refused, and tells whether that has nothing to do with others.
func (o *odd) alone(who ID) bool {
	c := o.find(who)
	if c == nil {
		c = o.enter(who)
	}
	o.refused++
	c.refused++
	sent, refused := o.sent-c.all, o.refused-c.bad
	if !c.often() || sent < oddSent || c.sent*oddPart > sent {
		return false
	}
	for i := range o.n { // of those who are not refused often
		if c := &o.callers[i]; c.often() {
			sent, refused = sent-c.sent, refused-c.refused
		}
	}
	sent, refused = max(sent, 0), max(refused, 0)
	return float64(refused+1)*oddTimes*float64(c.sent) <= float64(c.refused)*float64(sent+1)
}

// often tells whether a caller is refused too often for it to be by chance.
func (c *oddCaller) often() bool {
	return c.refused >= oddRefused && float64(c.refused) >= oddShare*float64(c.sent)
}

// enter makes a place for a caller: where there is none, that of who was refused least.
func (o *odd) enter(who ID) *oddCaller {
	least := 0
	if o.n < oddCallers {
		least = o.n
		o.n++
	} else {
		for i := range o.callers {
			if o.callers[i].refused < o.callers[least].refused {
				least = i
			}
		}
	}
	o.callers[least] = oddCaller{who: who, all: o.sent, bad: o.refused}
	return &o.callers[least]
}
