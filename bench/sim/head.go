package sim

import (
	"strconv"
	"time"
)

// Limits that the providers' headers state.
const (
	limitRequests = 10_000
	limitTokens   = 2_000_000
)

// appendProviderHeaders appends what the provider says in every answer beside its content.
func (x *exchange) appendProviderHeaders(b []byte) []byte {
	switch {
	case x.op == opControl || x.op == opEcho:
		return b
	case x.dialect == dialectAnthropic:
		return x.appendAnthropicHeaders(b)
	case x.dialect == dialectGemini:
		return x.appendGeminiHeaders(b)
	}
	return x.appendOpenAIHeaders(b)
}

func (x *exchange) appendOpenAIHeaders(b []byte) []byte {
	b = append(b, "access-control-expose-headers: X-Request-ID\r\n"+
		"openai-organization: org-simulated\r\n"+
		"openai-processing-ms: 42\r\n"+
		"openai-project: proj_simulated\r\n"+
		"openai-version: 2020-10-01\r\n"+
		"x-envoy-upstream-service-time: 44\r\n"...)
	b = x.appendLimits(b)
	b = append(b, "x-request-id: "...)
	b = append(b, x.requestID()...)
	return append(b, "\r\nx-openai-proxy-wasm: v0.1\r\ncf-cache-status: DYNAMIC\r\n"+
		"Set-Cookie: __cf_bm=simulated; path=/; HttpOnly; Secure; SameSite=None\r\n"+
		"Strict-Transport-Security: max-age=31536000; includeSubDomains; preload\r\n"+
		"X-Content-Type-Options: nosniff\r\nServer: cloudflare\r\nCF-RAY: 9c1f2a3b4c5d6e7f-FRA\r\n"+
		"alt-svc: h3=\":443\"; ma=86400\r\n"...)
}

func (x *exchange) appendAnthropicHeaders(b []byte) []byte {
	b = x.appendLimits(b)
	b = append(b, "request-id: "...)
	b = append(b, x.requestID()...)
	return append(b, "\r\nanthropic-organization-id: 5f0c3c1e-0000-4000-8000-51a5b1a7ed00\r\n"+
		"strict-transport-security: max-age=31536000; includeSubDomains; preload\r\n"+
		"via: 1.1 google\r\nx-robots-tag: none\r\nServer: cloudflare\r\nCF-RAY: 9c1f2a3b4c5d6e7f-FRA\r\n"...)
}

// appendLimits appends what the provider says of its limits: those of a quota, or some that never change.
func (x *exchange) appendLimits(b []byte) []byte {
	if b, told := x.appendQuotaHeaders(b); told {
		return b
	}
	requests, tokens := x.remaining()
	if x.dialect == dialectAnthropic {
		reset := x.now().UTC().Truncate(time.Second).Format(time.RFC3339)
		for _, kind := range [...]struct {
			name      string
			limit     int
			remaining int
		}{
			{"requests", limitRequests, requests}, {"input-tokens", limitTokens, tokens},
			{"output-tokens", limitTokens / 5, tokens / 5}, {"tokens", limitTokens / 5 * 6, tokens / 5 * 6},
		} {
			for _, f := range [...]struct {
				field string
				value string
			}{{"-limit: ", strconv.Itoa(kind.limit)}, {"-remaining: ", strconv.Itoa(kind.remaining)}, {"-reset: ", reset}} {
				b = append(b, "anthropic-ratelimit-"...)
				b = append(b, kind.name...)
				b = append(b, f.field...)
				b = append(b, f.value...)
				b = append(b, "\r\n"...)
			}
		}
		return b
	}
	b = appendInt(b, "x-ratelimit-limit-requests: ", limitRequests)
	b = appendInt(b, "x-ratelimit-limit-tokens: ", limitTokens)
	b = appendInt(b, "x-ratelimit-remaining-requests: ", requests)
	b = appendInt(b, "x-ratelimit-remaining-tokens: ", tokens)
	return append(b, "x-ratelimit-reset-requests: 6ms\r\nx-ratelimit-reset-tokens: 0s\r\n"...)
}

func (x *exchange) appendGeminiHeaders(b []byte) []byte {
	return append(b, "Vary: Origin\r\nVary: X-Origin\r\nVary: Referer\r\nServer: scaffolding on HTTPServer2\r\n"+
		"X-XSS-Protection: 0\r\nX-Frame-Options: SAMEORIGIN\r\nX-Content-Type-Options: nosniff\r\n"+
		"Server-Timing: gfet4t7; dur=42\r\nx-gemini-service-tier: standard\r\n"+
		"Alt-Svc: h3=\":443\"; ma=2592000\r\n"...)
}

// remaining is what the rate-limit headers say is left. It does not move, so that a call repeated through a proxy has
// the same headers, but for a 429.
func (x *exchange) remaining() (requests, tokens int) {
	if x.d.status == 429 {
		return 0, 0
	}
	return limitRequests - 1, limitTokens - 1000
}

func appendInt(b []byte, name string, n int) []byte {
	b = append(b, name...)
	b = strconv.AppendInt(b, int64(n), 10)
	return append(b, "\r\n"...)
}
