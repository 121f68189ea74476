package window

import (
	"strings"
	"time"
)

// Other is every field of the key of the overflow series.
const Other = "other"

// Key names a series. All four are plain labels; the empty string is one too.
type Key struct{ Target, Route, Class, Arm string }

func (k Key) clone() Key {
	return Key{strings.Clone(k.Target), strings.Clone(k.Route), strings.Clone(k.Class), strings.Clone(k.Arm)}
}

func compareKeys(a, b Key) int {
	if c := strings.Compare(a.Target, b.Target); c != 0 {
		return c
	}
	if c := strings.Compare(a.Route, b.Route); c != 0 {
		return c
	}
	if c := strings.Compare(a.Class, b.Class); c != 0 {
		return c
	}
	return strings.Compare(a.Arm, b.Arm)
}

// Observation is what one finished attempt adds to its series. Negative numbers count as zero.
type Observation struct {
	Outcome  Outcome
	Duration time.Duration // from the start of the attempt to its end, whatever the outcome
	TTFT     time.Duration // time to first token: to the first content of a streamed answer; 0 or less: there was none

	TokensInput      int64 // uncached input
	TokensCacheRead  int64
	TokensCacheWrite int64
	TokensOutput     int64
	TokensReasoning  int64

	// Propensity is the probability that the target was to be chosen; 0 where the choice was forced.
	Propensity float64

	CostNanoUSD int64
	Estimated   bool // the provider said nothing: tokens and cost are our estimate
	Unpriced    bool // the model's price is unknown: no cost is recorded, not even zero
}

// Outcome tells how an attempt ended.
type Outcome uint8

// The outcomes. What a number means may change between builds; String is stable.
const (
	OK               Outcome = iota
	ClientError              // 4xx other than 429
	RateLimited              // 429
	UpstreamError            // 5xx, or an error body under another status
	Connect                  // no connection to the provider
	TimeoutFirstByte         // no answer began in time
	TimeoutIdle              // the answer fell silent
	TimeoutTotal             // the answer went on too long
	Broken                   // cut in mid-answer
	StreamError              // an error event inside the stream
	Canceled                 // the client left
	Refused                  // by us: too large, malformed
	outcomesEnd
)

var outcomeNames = [outcomesEnd]string{
	"ok", "client_error", "rate_limited", "upstream_error", "connect", "timeout_first_byte", "timeout_idle", "timeout_total",
	"broken", "stream_error", "canceled", "refused",
}

// String returns the outcome's name in logs, metrics and tables, such as "timeout_idle".
func (o Outcome) String() string {
	if o >= outcomesEnd {
		return "unknown"
	}
	return outcomeNames[o]
}

// Outcomes returns every outcome, in order.
func Outcomes() []Outcome {
	all := make([]Outcome, outcomesEnd)
	for i := range all {
		all[i] = Outcome(i)
	}
	return all
}
