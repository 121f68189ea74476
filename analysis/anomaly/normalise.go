package anomaly

import (
	"math"
	"time"

	"llm-auto-optimizer/analysis"
)

// Normaliser takes out of a target's times what the sizes of its requests explain, so that a series of long prompts is no anomaly. One
// a target; a step takes O(1) and allocates nothing.
type Normaliser struct{ ttft *analysis.RLS }

const normaliseLearn = 30 // requests before residuals mean anything

// NewNormaliser returns a Normaliser that has seen nothing.
func NewNormaliser() *Normaliser { return &Normaliser{analysis.NewRLS()} }

// TTFT returns the logarithm of a time to first token less what its uncached input tokens lead one to expect (recursive least squares
// on their logarithm), and learns from it. 0.69 is twice as long as usual. False for the first 30 requests, and for a time that is not
// positive or a negative number of tokens, which change nothing.
func (n *Normaliser) TTFT(ttft time.Duration, uncachedInput int64) (residual float64, ok bool) {
	if ttft <= 0 || uncachedInput < 0 {
		return 0, false
	}
	_, _, seen := n.ttft.Line()
	return n.ttft.Step(math.Log1p(float64(uncachedInput)), math.Log(ttft.Seconds())), seen >= normaliseLearn
}

// Typical returns the time to first token to expect for this many uncached input tokens; false for the first 30 requests.
func (n *Normaliser) Typical(uncachedInput int64) (time.Duration, bool) {
	_, _, seen := n.ttft.Line()
	log := n.ttft.Predict(math.Log1p(float64(max(uncachedInput, 0))))
	return time.Duration(min(math.Exp(log), 1e9) * float64(time.Second)), seen >= normaliseLearn
}

// PerToken returns the logarithm of the time per output token after the first, in seconds: a time that needs no further
// normalisation. False for fewer than two tokens or a time that is not positive.
func PerToken(generation time.Duration, outputTokens int64) (float64, bool) {
	if generation <= 0 || outputTokens < 2 {
		return 0, false
	}
	return math.Log(generation.Seconds() / float64(outputTokens-1)), true
}
