package simulate

import (
	"os"
	"path/filepath"
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
