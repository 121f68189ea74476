package compare

import (
	"fmt"
	"strings"
	"time"
)

// scenario is one kind of load.
type scenario struct {
	name    string
	unit    string // what CPU time is counted per: request, stream or chunk
	paced   bool   // needs the upstream that paces its streams
	body    int    // bytes of the request's body
	stream  bool
	conns   int
	rate    float64       // requests per second in all; 0: each connection as fast as it can
	settle  time.Duration // before the measurement
	measure time.Duration
}

// Names of the scenarios, as they stand in results.
const (
	Saturated = "1 KB, saturated"
	FixedRate = "1 KB, 1,000 requests/s"
	Large     = "32 KB, saturated"
	Streams   = "streams of 64 chunks, saturated"
	FirstByte = "streams of 64 chunks, 200/s"
	Paced     = "1,000 streams, 5 chunks/s each"
)

const (
	streamTokens = 62  // of the answers; with the events around them a stream has 64 chunks
	pacedTokens  = 400 // at 200 ms each: longer than any measurement
	pacedStreams = 1000
)

func scenarios(quick bool) []scenario {
	settle, measure := 300*time.Millisecond, 2*time.Second
	if quick {
		settle, measure = 100*time.Millisecond, 400*time.Millisecond
	}
	all := []scenario{
		{name: Saturated, unit: "request", body: 1 << 10, conns: 64},
		{name: FixedRate, unit: "request", body: 1 << 10, conns: 32, rate: 1000},
		{name: Large, unit: "request", body: 32 << 10, conns: 64},
		{name: Streams, unit: "stream", body: 1 << 10, conns: 64, stream: true},
		{name: FirstByte, unit: "stream", body: 1 << 10, conns: 32, stream: true, rate: 200},
		{name: Paced, unit: "chunk", body: 1 << 10, conns: pacedStreams, stream: true, paced: true},
	}
	for i := range all {
		all[i].settle, all[i].measure = settle, measure
		if all[i].paced {
			all[i].settle, all[i].measure = settle+time.Second, measure+measure/2
		}
	}
	return all
}

// simDirectives say how the upstream answers a scenario.
func (s *scenario) simDirectives() string {
	if s.paced {
		return fmt.Sprintf("tokens=%d,tpot=200ms", pacedTokens)
	}
	return fmt.Sprintf("tokens=%d", streamTokens)
}

// request is what a client sends: a chat completion as an SDK asks for it.
func (s *scenario) request() []byte {
	const frame = `{"model":"gpt-4o-mini","stream":%t,"temperature":0.2,"max_tokens":512,"messages":[` +
		`{"role":"system","content":"You are a helpful assistant. Answer briefly."},{"role":"user","content":"%s"}]}`
	const words = "The quick brown fox jumps over the lazy dog. "
	body := fmt.Sprintf(frame, s.stream, "")
	text := strings.Repeat(words, (s.body-len(body))/len(words)+1)[:max(0, s.body-len(body))]
	body = fmt.Sprintf(frame, s.stream, strings.TrimRight(text, " ")+strings.Repeat(".", len(text)-len(strings.TrimRight(text, " "))))
	return fmt.Appendf(nil, "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: application/json\r\nAccept-Language: *\r\n"+
		"Content-Type: application/json\r\nUser-Agent: OpenAI/JS 6.9.0\r\nAuthorization: Bearer sk-compare-0123456789abcdef\r\n"+
		"Content-Length: %d\r\n\r\n%s", len(body), body)
}
