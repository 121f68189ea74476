package policy

import (
	"math/rand/v2"
	"testing"
)

// Sessions fall into the arms in proportion, stay there while a trial grows, and other trials draw others.
func TestRoute_Arm(t *testing.T) {
	t.Parallel()
	plain := Parameters{RetryShare: .1}
	static, canary := &Parameters{RetryShare: .2}, &Canary{Parameters{RetryShare: .3}, .05, 1}
	r := Route{Parameters: plain, Static: static, Holdback: .02, Canary: canary}
	grown, other := *canary, *canary
	grown.Share, other.Salt = .5, 2
	bigger, next := Route{Parameters: plain, Static: static, Holdback: .02, Canary: &grown}, Route{Parameters: plain, Static: static, Holdback: .02, Canary: &other}
	draw := rand.New(rand.NewPCG(1, 2))
	var counts, big [Arms]int
	both := 0
	const n = 200_000
	for range n {
		s := draw.Uint64()
		a := r.Arm(s)
		counts[a]++
		b := bigger.Arm(s)
		big[b]++
		if a == Trial && b != Trial || a == Control && b == Trial || a == Holdback != (b == Holdback) {
			t.Fatalf("session %x: %v, then %v", s, a, b)
		}
		if a == Trial && next.Arm(s) == Trial {
			both++
		}
		if (&Route{Parameters: plain, Holdback: .5}).Arm(s) != Treated {
			t.Fatal("held back where nothing differs")
		}
	}
	near := func(what string, got int, want float64) {
		t.Helper()
		if d := float64(got)/n - want; d < -.003 || d > .003 {
			t.Errorf("%s: %.4f of the sessions, want %.4f", what, float64(got)/n, want)
		}
	}
	near("hold-back", counts[Holdback], .02)
	near("canary", counts[Trial], .98*.05)
	near("control", counts[Control], .98*.05)
	near("treated", counts[Treated], .98*.9)
	near("canary at a half", big[Trial], .98*.5)
	near("control at a half", big[Control], .98*.5)
	near("two trials", both, .98*.05*.05)
	for a, want := range map[Arm]float64{Treated: .1, Holdback: .2, Trial: .3, Control: .1} {
		if got := r.Of(a).RetryShare; got != want {
			t.Errorf("%v obeys %v, want %v", a, got, want)
		}
	}
}
