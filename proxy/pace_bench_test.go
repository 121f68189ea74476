package proxy

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"llm-auto-optimizer/analysis/window"
	"llm-auto-optimizer/proxy/limit"
	"llm-auto-optimizer/proxy/provider"
	"llm-auto-optimizer/proxy/upstream"
)

// benchTold is an answer that tells of two limits, as OpenAI's do.
func benchTold(answer string) string {
	const told = "x-ratelimit-limit-requests: 1000000\r\nx-ratelimit-limit-tokens: 1000000000\r\nx-ratelimit-remaining-requests: 999999\r\n" +
		"x-ratelimit-remaining-tokens: 999990000\r\nx-ratelimit-reset-requests: 6ms\r\nx-ratelimit-reset-tokens: 1ms\r\n"
	return strings.Replace(answer, "x-ratelimit-remaining-requests: 99\r\n", told, 1)
}

// BenchmarkPacing takes exchanges as BenchmarkExchange does, with pacing switched off and on, and with a provider that tells of its limits.
func BenchmarkPacing(b *testing.B) {
	bc := benchCases()[0]
	bare := strings.Replace(bc.answer, "x-ratelimit-remaining-requests: 99\r\n", "", 1)
	for _, c := range []struct {
		name    string
		enabled bool
		answer  string
	}{{"off", false, bare}, {"on", true, bare}, {"off-told", false, benchTold(bc.answer)}, {"on-told", true, benchTold(bc.answer)}} {
		b.Run(fmt.Sprintf("pacing=%s", c.name), func(b *testing.B) {
			cfg := testConfig(prepared(b, []byte(c.answer)))
			p := cfg.Providers["openai"]
			p.Pacing.Enabled = c.enabled
			cfg.Providers["openai"] = p
			client := newBenchClientOf(b, benchCase{request: bc.request}, cfg, nil)
			client.exchange()
			b.ReportAllocs()
			for b.Loop() {
				client.exchange()
			}
		})
	}
}

// BenchmarkPacing_Steps takes all that an attempt does for pacing, without sockets: it asks for room, reads the answer's headers, tells of them, and ends.
func BenchmarkPacing_Steps(b *testing.B) {
	fields := func(lines string) (out []upstream.Field) {
		for line := range strings.Lines(lines) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
			out = append(out, upstream.Field{Name: []byte(name), Value: []byte(value)})
		}
		return out
	}
	const plain = "date: Mon, 01 Jan 2024 00:00:00 GMT\nContent-Type: application/json\naccess-control-expose-headers: X-Request-ID\nopenai-organization: o\nopenai-processing-ms: 100\n" +
		"openai-version: 2020-10-01\nx-request-id: req_1\nx-envoy-upstream-service-time: 101\nstrict-transport-security: max-age=31536000\ncf-cache-status: DYNAMIC\nserver: cloudflare\ncf-ray: 1\nalt-svc: h3\n"
	const told = plain + "x-ratelimit-limit-requests: 1000000\nx-ratelimit-limit-tokens: 1000000000\nx-ratelimit-remaining-requests: 999999\n" +
		"x-ratelimit-remaining-tokens: 999990000\nx-ratelimit-reset-requests: 6ms\nx-ratelimit-reset-tokens: 1ms\n"
	for _, c := range []struct{ name, lines string }{{"no", plain}, {"yes", told}} {
		b.Run("told="+c.name, func(b *testing.B) {
			g := startTB(b, pacedRoute("http://127.0.0.1:1"), nil, io.Discard)
			p := g.p
			x := newExchange()
			x.p, x.settings, x.policy, x.client = p, p.settings.Load(), p.policy.Load(), &clientConn{}
			x.provider, x.operation, x.bodyLen = x.settings.providers["a"], provider.ChatCompletions, 1000
			x.request = provider.Request{Model: []byte("m")}
			x.limits = x.limitsOf("a")
			x.target = p.targets.find(x.provider.owner, x.request.Model)
			head, o := fields(c.lines), window.Observation{Outcome: window.OK}
			b.ReportAllocs()
			for b.Loop() {
				now := time.Now()
				if x.takeRoom(now).Retry > 0 {
					b.Fatal("no room")
				}
				x.attempt.answered, x.attempt.sent = now, now
				h := x.limitsIn(head)
				x.pace.of.Answered(now, &x.pace.turn, limit.Through, h, 0, 0)
				if h != nil {
					p.said.Put(h)
				}
				x.endTurn(now, &o)
			}
		})
	}
}

// Keeping to limits allocates nothing, told or not.
//
//nolint:paralleltest // it counts the allocations of the whole process
func TestPacing_Allocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates and empties pools")
	}
	bc := benchCases()[0]
	client := newBenchClientOf(t, bc, testConfig(prepared(t, []byte(benchTold(bc.answer)))), nil)
	for range 100 {
		client.exchange()
	}
	if got := testing.AllocsPerRun(300, client.exchange); got > maxAllocs {
		t.Errorf("%.1f allocations per exchange, want at most %d", got, maxAllocs)
	}
}
