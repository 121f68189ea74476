package simulate

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// On a public trace, replicas with prefix affinity hit nearly as much as one cache that all share, and share the load.
func TestPrefixAffinity(t *testing.T) {
	t.Parallel()
	data := os.Getenv("OPTIMIZER_DATA")
	if data == "" {
		t.Skip("OPTIMIZER_DATA is not set")
	}
	for _, name := range []string{"conversation", "synthetic"} {
		a, err := PrefixAffinity(filepath.Join(data, "traces/mooncake", name+"_first_half.jsonl.gz"), 4)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %d requests, %d blocks: one cache hits %.1f %%, four without affinity %.1f %%, with %.1f %% (%.1f %% of one); busiest replica %.3f x tokens, %.3f x in flight",
			name, a.Requests, a.Blocks, 100*a.Shared, 100*a.Spread, 100*a.Affine, 100*a.Affine/a.Shared, a.MaxLoad, a.MaxInFlight)
		if a.Affine < .95*a.Shared || a.MaxInFlight > 1.25 {
			t.Errorf("%s: %.3f of the hits of one cache, busiest replica %.3f times the mean", name, a.Affine/a.Shared, a.MaxInFlight)
		}
	}
}

// What the prompt caches of replicas happen to know is no price: the tuner takes the traffic from the dear vendor, shares it among them, and leaves them alone.
func TestAffinity_TheTunerSharesAmongReplicas(t *testing.T) {
	t.Parallel()
	data := os.Getenv("OPTIMIZER_DATA")
	if data == "" {
		t.Skip("OPTIMIZER_DATA is not set")
	}
	path := filepath.Join("..", "scenarios", "traces", "mooncake-conversation.txt")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Parse(strings.NewReader(regexp.MustCompile(`(?m)^at .*\n`).ReplaceAllString(string(text), "")), path)
	if err != nil {
		t.Fatal(err)
	}
	s.Traffic.Trace = filepath.Join(data, s.Traffic.Trace)
	run, err := playOne(s, Optimized, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	late, total := [5]int{}, 0
	for _, second := range run.seconds[10*60:] {
		for i := range late {
			late[i] += int(second.attempts[i])
			total += int(second.attempts[i])
		}
	}
	for i, n := range late[:4] {
		if part := float64(n) / float64(total); part < .15 || part > .35 {
			t.Errorf("replica %d has %.2f of the attempts", i+1, part)
		}
	}
	if late[4]*50 > total {
		t.Errorf("the dear vendor has %d of %d", late[4], total)
	}
	if n := len(run.applied); n > 2 {
		t.Errorf("%d changes: %s", n, strings.Join(run.Decisions, "\n"))
	}
}
