// Package sim is a simulated LLM provider: it speaks the wire formats of OpenAI, Anthropic and Gemini exactly, as fast
// or slow as ordered, and breaks in every way providers and the networks before them do.
//
// It is an independent witness of what a proxy does: it shares no code with the proxy, reads requests with an own strict
// HTTP/1.1 parser on the bare connection, notices clients that leave, and counts everything.
package sim
