package simulate

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

// On a few routes and in two days the tuner comes near what the best times to live would save, gives out few stale answers, and does the same each time.
func TestCacheRun_NearsTheBest(t *testing.T) {
	t.Parallel()
	var r CacheReport
	for seed := range uint64(3) {
		run := NewCacheRun(seed, seed == 2)
		run.Length, run.Judged = 48*time.Hour, 12*time.Hour
		for class := range run.Demands {
			run.Demands[class].Questions, run.Demands[class].Rate = run.Demands[class].Questions/4, run.Demands[class].Rate/4
		}
		r.Runs = append(r.Runs, run.Play())
	}
	short := NewCacheRun(1, true)
	short.Length, short.Judged = 3*time.Hour, time.Hour
	if !reflect.DeepEqual(short.Play(), short.Play()) {
		t.Error("another run of the same seed has another result")
	}
	r.sum()
	var text strings.Builder
	if err := r.Print(&text); err != nil || !strings.Contains(text.String(), "net saving, as a part of the best times to live") {
		t.Error(err)
	}
	if r.Net < .85 || r.Stale > .015 || r.Net < r.Fixed {
		t.Errorf("net %.3f, stale %.4f, an hour for all %.3f\n%s", r.Net, r.Stale, r.Fixed, &text)
	}
}
