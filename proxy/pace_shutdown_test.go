package proxy

import (
	"bytes"
	"runtime"
	"testing"
	"time"
)

// After a shutdown with a crowd that waits for room nothing goes on that hands room out.
//
//nolint:paralleltest // it looks at all goroutines
func TestPacing_ShutdownLeavesNothing(t *testing.T) {
	serving := func() int {
		all := make([]byte, 8<<20)
		return bytes.Count(all[:runtime.Stack(all, true)], []byte("pacing.(*Pace).serve("))
	}
	g, pace := crowdThatWaits(t)
	if n := serving(); n != 1 {
		t.Errorf("%d hand room out", n)
	}
	g.stop()
	eventually(t, "nothing hands room out", func() bool { return serving() == 0 })
	eventually(t, "nobody waits", func() bool { return pace.State(time.Now()).Waiting == 0 })
}
