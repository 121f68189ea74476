package limit

// odd notices that it is one caller alone whose requests a provider refuses, while those of others are let through: then that is for what the caller asks for, as a feature or a model that
// its account has little of, and not because requests come too fast. A limit that all share refuses whoever comes.
type odd struct {
	caller  ID
	refused int // in a row, of nobody else
	sent    int // by all since the first of them
	own     int // by the caller
}

const (
	oddRefused = 4  // in a row, of one caller
	oddSent    = 40 // by all, since
	oddOwn     = 4  // is the most of these that are the caller's, one in so many: of a shared limit, four in a row would be its own once in 256 times then
	oddMemory  = 1 << 12
)

// took is told who sends one.
func (o *odd) took(caller ID) {
	if o.refused == 0 {
		return
	}
	if o.sent++; caller == o.caller {
		o.own++
	}
	if o.sent >= oddMemory {
		o.sent, o.own = o.sent/2, o.own/2
	}
}

// alone is told whose request was refused, and tells whether it has nothing to do with others.
func (o *odd) alone(caller ID) bool {
	if caller != o.caller || o.refused == 0 {
		*o = odd{caller: caller, refused: 1}
		return false
	}
	o.refused = min(o.refused+1, oddRefused)
	return o.refused == oddRefused && o.sent >= oddSent && o.own*oddOwn <= o.sent
}
