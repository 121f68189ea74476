package proxy

import (
	"encoding/hex"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"llm-auto-optimizer/analysis/window"
	"llm-auto-optimizer/config"
	"llm-auto-optimizer/proxy/provider"
)

// Traces takes what is known of sampled exchanges, for whoever exports it. Exchanges that are not sampled cost nothing. It is safe for
// concurrent use.
type Traces struct {
	share   float64
	out     chan *Trace
	dropped atomic.Uint64
}

// NewTraces samples percent of the exchanges whose client has not decided it, and keeps at most size of them for the reader of C; further
// ones are dropped.
func NewTraces(percent float64, size int) *Traces {
	return &Traces{share: percent / 100, out: make(chan *Trace, size)}
}

// C gives the exchanges that have ended. It is never closed.
func (t *Traces) C() <-chan *Trace { return t.out }

// Dropped returns how many were dropped because nobody took them in time.
func (t *Traces) Dropped() uint64 { return t.dropped.Load() }

// Trace is a sampled exchange. It holds no credential, prompt or answer.
type Trace struct {
	TraceID  [16]byte
	Parent   [8]byte // the client's span; zero: none
	SpanID   [8]byte
	ID       string // of the exchange
	Start    time.Time
	End      time.Time
	Method   string
	Path     string // without query
	Model    string // as the client named it
	Route    string
	Class    string
	Caller   string // hash
	Stream   bool
	Status   int
	Outcome  window.Outcome
	Error    string // code of our own error; empty: none
	Cost     config.NanoUSD
	Attempts []TraceAttempt

	Operation string // of generative AI, by its name in OpenTelemetry's conventions; empty: none
	Dialect   string
}

// TraceAttempt is one attempt of a sampled exchange.
type TraceAttempt struct {
	SpanID        [8]byte
	Start, End    time.Time
	TTFT          time.Duration // 0: none
	Provider      string
	Target        string
	Host          string // where it went
	Model         string // that the answer names; empty: none
	Status        int    // of the answer; 0: none came
	Outcome       window.Outcome
	Input, Output int64 // tokens, of all kinds
	CacheRead     int64
	CacheWrite    int64
	Reasoning     int64
	Cost          config.NanoUSD
	Estimated     bool
	Unpriced      bool
	Why           string // its target was chosen; empty: there was no choice
}

// traceparentHeader carries a trace between processes (W3C Trace Context).
const traceparentHeader = "traceparent"

// sample begins a trace if the exchange is to have one: its client's decision counts, else chance.
func (p *Proxy) sample(x *Exchange) {
	if p.traces == nil {
		return
	}
	var t Trace
	trace, parent, sampled, known := parseTraceparent(x.peek(traceparentHeader))
	switch {
	case known && !sampled:
		return
	case known:
		t.TraceID, t.Parent = trace, parent
	case rand.Float64() >= p.traces.share: //nolint:gosec // it need not be unpredictable
		return
	default:
		putRandom(t.TraceID[:8])
		putRandom(t.TraceID[8:])
	}
	putRandom(t.SpanID[:])
	x.trace = &t
}

// putRandom fills 8 bytes, never with zeros only.
func putRandom(b []byte) {
	v := rand.Uint64() | 1 //nolint:gosec // an id need not be unpredictable
	for i := range b {
		b[i] = byte(v >> (8 * i))
	}
}

// parseTraceparent reads a header of any version, as the standard has it: what version 0 defines stands in front.
func parseTraceparent(v []byte) (trace [16]byte, parent [8]byte, sampled, known bool) {
	const size = len("00-0123456789abcdef0123456789abcdef-0123456789abcdef-01")
	if len(v) < size || v[2] != '-' || v[35] != '-' || v[52] != '-' || len(v) > size && (v[size] != '-' || string(v[:2]) == "00") {
		return trace, parent, false, false
	}
	var version, flags [1]byte
	for _, part := range []struct{ to, from []byte }{{version[:], v[:2]}, {trace[:], v[3:35]}, {parent[:], v[36:52]}, {flags[:], v[53:55]}} {
		if _, err := hex.Decode(part.to, part.from); err != nil || hasUpper(part.from) {
			return trace, parent, false, false
		}
	}
	if version[0] == 0xff || trace == [16]byte{} || parent == [8]byte{} {
		return trace, parent, false, false
	}
	return trace, parent, flags[0]&1 > 0, true
}

func hasUpper(b []byte) bool {
	for _, c := range b {
		if 'A' <= c && c <= 'F' {
			return true
		}
	}
	return false
}

// appendTraceparent begins an attempt's span and appends the header that has the provider's spans hang on it.
func (x *Exchange) appendTraceparent(b []byte) []byte {
	a := TraceAttempt{}
	putRandom(a.SpanID[:])
	x.trace.Attempts = append(x.trace.Attempts, a)
	x.trace.Method, x.trace.Path = string(x.method), string(x.path) // a tunnel outlives the request
	b = append(b, "traceparent: 00-"...)
	b = hex.AppendEncode(b, x.trace.TraceID[:])
	b = append(b, '-')
	b = hex.AppendEncode(b, a.SpanID[:])
	return append(b, "-01\r\n"...)
}

// traceAttempt notes how the attempt that has just ended went.
func (x *Exchange) traceAttempt(now time.Time, o *window.Observation) {
	if x.trace == nil || len(x.trace.Attempts) == 0 {
		return
	}
	a := &x.trace.Attempts[len(x.trace.Attempts)-1]
	*a = TraceAttempt{
		SpanID: a.SpanID, Start: x.attempt.start, End: now, TTFT: o.TTFT,
		Provider: x.target.provider, Target: x.target.name, Host: x.provider.origin.Host, Model: string(x.meter.Model()),
		Status: x.attempt.status, Outcome: o.Outcome, Input: x.usage.InputTotal(), Output: o.TokensOutput,
		CacheRead: o.TokensCacheRead, CacheWrite: o.TokensCacheWrite, Reasoning: o.TokensReasoning,
		Cost: x.cost, Estimated: x.estimated, Unpriced: x.unpriced, Why: x.why(),
	}
}

// why says which step chose the attempt's target; empty where there was no choice.
func (x *Exchange) why() string {
	if x.route == nil {
		return ""
	}
	return x.choice.Why.String()
}

// endTrace hands the exchange to whoever exports it.
func (x *Exchange) endTrace(now time.Time, o window.Outcome) {
	t := x.trace
	if t == nil {
		return
	}
	t.ID, t.Start, t.End = string(x.id[:]), x.start, now
	if t.Method == "" {
		t.Method, t.Path = string(x.method), string(x.path)
	}
	t.Route, t.Class, t.Caller = x.routeName(), x.class.String(), string(x.caller.appendTo(nil))
	t.Stream, t.Status, t.Outcome, t.Cost = x.streamed, x.status, o, x.total
	if x.target != nil {
		t.Model = x.target.model
	}
	if x.kind != nil {
		t.Error = x.kind.code
	}
	if x.provider != nil {
		t.Dialect = x.provider.dialect.String()
		t.Operation = operationNames[x.operation]
	}
	select {
	case x.p.traces.out <- t:
	default:
		x.p.traces.dropped.Add(1)
	}
}

// operationNames are the values of gen_ai.operation.name.
var operationNames = map[provider.Operation]string{
	provider.ChatCompletions: "chat", provider.Completions: "text_completion", provider.Responses: "chat", provider.Messages: "chat",
	provider.GenerateContent: "generate_content", provider.Embeddings: "embeddings", provider.EmbedContent: "embeddings",
}
