package anomaly

// context scores how unusual the order of values is. Values are cut into levels across the range seen so far; a context is three
// levels in a row, new to the degree 1/(1+visits), and the score is how unlikely the mean novelty of the last ticks is among the
// usual novelty of this series (the anomaly likelihood of Ahmad et al., "Unsupervised real-time anomaly detection for streaming
// data", 2017). A series that is always new in this way is not surprising for it.
type context struct {
	low, high float64
	known     bool
	last      int // the two levels before, as one number
	total     int
	count     [contextLevels * contextLevels * contextLevels]float32
	recent    movingMean
	usual     drift
}

const (
	contextLevels  = 8
	contextSpan    = 8    // ticks of novelty that are averaged
	noveltyFloor   = .003 // least deviation of novelty: below it a series counts as fully known
	contextLearned = 100  // ticks
)

func newContext() context {
	return context{recent: newMovingMean(contextSpan), usual: drift{weight: longWeight}}
}

// step returns a score in [0, 1]. It learns from every value: an order of values that repeats is known the second time.
func (c *context) step(v float64) float64 {
	if !c.known {
		c.low, c.high, c.known = v, v, true
	}
	c.low, c.high = min(c.low, v), max(c.high, v)
	at := 0
	if size := c.high - c.low; size > 0 {
		at = int(min(max(contextLevels*(v-c.low)/size, 0), contextLevels-1))
	}
	i := c.last*contextLevels + at
	c.last = i % (contextLevels * contextLevels)
	novelty := 1 / (1 + float64(c.count[i]))
	mean := c.recent.add(novelty)
	score := 0.0
	if c.usual.n >= contextLearned {
		score = surprise(upperTail((mean - c.usual.mean) / max(c.usual.sd(), noveltyFloor)))
	}
	c.usual.add(novelty)
	c.count[i]++
	if c.total++; c.total%visitMemory == 0 {
		for i := range c.count {
			c.count[i] /= 2
		}
	}
	return score
}
