// Package compare puts the same load through several proxies, turn by turn, and measures what each costs: CPU time of
// its processes per request and per chunk of a stream, memory, and the latency that it adds. Everything runs on one machine,
// so absolute figures say little; ratios between contenders of one run do.
package compare
