package simulate

import (
	"strings"
	"testing"
	"time"
)

// The tuner of limits ends the 429s of a provider that allows less than it tells, and uses nearly all that it does allow; without it they go on.
func TestPlay_LimitsAreTuned(t *testing.T) {
	t.Parallel()
	text := strings.NewReplacer("5700/m", "1140/m", "150/s", "30/s", "run 20m seeds 5", "run 12m seeds 1").Replace(scenarioText(t, "quota-overstated.txt"))
	o, err := Play(parse(t, text), []string{LimitsOnly, Production}, 1)
	if err != nil {
		t.Fatal(err)
	}
	tuned, fixed := o[0].Runs[0], o[1].Runs[0]
	used, refused := tuned.Limits[0].of(6*time.Minute, 12*time.Minute)
	usedFixed, refusedFixed := fixed.Limits[0].of(6*time.Minute, 12*time.Minute)
	t.Logf("tuned: %.1f %% used, %.3f %% refused; as configured: %.1f %%, %.3f %%; %q", 100*used, 100*refused, 100*usedFixed, 100*refusedFixed, tuned.Decisions)
	if said := strings.Join(tuned.Decisions, "\n"); strings.Contains(said, "chat now reserves") { // the first to come are short answers
		t.Errorf("while lengths are learned: %s", said)
	}
	if used < .97 || refused > .0005 || refusedFixed < .05 || !strings.Contains(strings.Join(tuned.Decisions, "\n"), "chat now uses 91 % of the limits that a tells of") {
		t.Errorf("%v used, %v refused (%v as configured): %q", used, refused, refusedFixed, tuned.Decisions)
	}
}
