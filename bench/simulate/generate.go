package simulate

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
)

// Generate makes a scenario from a seed, within these ranges: 2 to 5 targets; input prices log-uniform from $0.1 to $5 per million tokens and output
// prices 4 to 10 times those; median times to first token log-uniform from 150 ms to 1.2 s with sigma .2 to .7; 4 to 25 ms per token; queueing from 40 to
// 300 requests on; errors 0 to 1 %; 5 to 60 requests/s; an objective of 2 to 4 s; an hour; 2 to 6 incidents of any kind, of 1 to 8 minutes, which do not
// overlap, so that a target is always left.
func Generate(seed uint64) string {
	draw := rand.New(rand.NewPCG(seed, 0x5ce7a810))
	uniform := func(low, high float64) float64 { return low + (high-low)*draw.Float64() }
	logUniform := func(low, high float64) float64 { return math.Exp(uniform(math.Log(low), math.Log(high))) }
	var s strings.Builder
	fmt.Fprintf(&s, "# generated from seed %d\nroute chat slo ttft %.1fs errors 1%%\n", seed, uniform(2, 4))
	n := 2 + draw.IntN(4)
	for i := range n {
		in := logUniform(.1, 5)
		fmt.Fprintf(&s, "target %c price %.2f %.2f ttft %.0fms sigma %.2f tpot %.0fms concurrency %.0f errors %.2f%%\n", 'a'+i, in, in*uniform(4, 10),
			logUniform(150, 1200), uniform(.2, .7), logUniform(4, 25), uniform(40, 300), uniform(0, 1))
	}
	fmt.Fprintf(&s, "traffic rate %.1f/s input lognormal %.0f %.2f output lognormal %.0f %.2f\n", logUniform(5, 60), logUniform(200, 3000), uniform(.5, 1.2),
		logUniform(50, 500), uniform(.4, 1))
	at := 5.
	for range 2 + draw.IntN(5) {
		length := uniform(1, 8)
		target := 'a' + draw.IntN(n)
		what := [...]string{
			fmt.Sprintf("errors %.1f%%", logUniform(3, 100)), fmt.Sprintf("ttft x%.2f", logUniform(1.25, 8)), fmt.Sprintf("quota %.0f/min", logUniform(60, 1200)),
			"blackhole", "hang", "drip", fmt.Sprintf("price x%.2f", logUniform(.3, 3)),
		}[draw.IntN(7)]
		if at+length > 58 {
			break
		}
		fmt.Fprintf(&s, "at %.2fm %c %s for %.2fm\n", at, target, what, length)
		at += length + uniform(1, 6)
	}
	s.WriteString("run 60m seeds 4\n")
	return s.String()
}

// TracePath is where a scenario's trace is: beside the scenario, else in the directory of public data.
func (s *Scenario) TracePath(beside, data string) string {
	for _, dir := range []string{beside, data} {
		path := filepath.Join(dir, s.Traffic.Trace)
		if _, err := os.Stat(path); err == nil && dir != "" {
			return path
		}
	}
	return filepath.Join(beside, s.Traffic.Trace)
}
