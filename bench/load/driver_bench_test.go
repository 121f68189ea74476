package load

import (
	"fmt"
	"testing"
	"time"

	"llm-auto-optimizer/analysis/window"
	"llm-auto-optimizer/bench/sim"
)

// BenchmarkDriver is one exchange over loopback: what the generator and the simulator take together.
func BenchmarkDriver(b *testing.B) {
	for _, stream := range []bool{false, true} {
		b.Run(fmt.Sprintf("stream=%v", stream), func(b *testing.B) {
			_, url := provider(b, sim.Options{Minimal: true, Directives: sim.MustDirectives("tokens=64")})
			k := Kind{API: Chat, BaseURL: url + "/v1", Key: "key", Model: "m", Weight: 1, Stream: stream, Prompt: Size{Median: 250, Sigma: .5}}
			b.ReportAllocs()
			d, err := New(Options{
				Arrivals: at(make([]int, b.N)...), Kinds: []Kind{k}, MaxInFlight: 64, Drain: time.Minute,
			})
			if err != nil {
				b.Fatal(err)
			}
			d.Run(b.Context())
			if ok := d.Stats().Outcomes[window.OK]; ok != int64(b.N) {
				b.Errorf("%d of %d succeeded", ok, b.N)
			}
		})
	}
}
