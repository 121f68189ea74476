// Package load sends load to LLM APIs and counts what comes back.
//
// The load is open: requests have intended send times that do not depend on the answers, as with many independent
// clients. Latency counts from the intended time, so that a server that makes its clients queue is charged for it
// (no coordinated omission). What is sent is a mixture of kinds: APIs of OpenAI, Anthropic and Gemini, streamed or
// not, with prompts of random lengths, of which some share their beginning. Some clients leave before the answer is
// complete.
//
// Arrivals are even, random or those of a recorded trace, which tells the sizes of requests too ([Trace]).
//
// Everything about the n-th request is a function of the seed, n and its arrival. A driver shares no code with the proxy but the
// scanner of event streams, which has a reference implementation in its tests.
package load
