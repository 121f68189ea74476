package optimizer

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Mode is how far a tuner may go.
type Mode uint8

// The modes.
const (
	Observe   Mode = iota // measure only
	Recommend             // say what it would change
	Canary                // try changes on part of the traffic
	Auto                  // and put them in force
)

// ModeNames are the modes' names in settings and commands, in their order.
var ModeNames = []string{"observe", "recommend", "canary", "auto"}

func (m Mode) String() string { return ModeNames[min(int(m), len(ModeNames)-1)] }

// ParseMode is the mode of a name.
func ParseMode(name string) (Mode, bool) {
	i := slices.Index(ModeNames, name)
	return Mode(max(i, 0)), i >= 0 //nolint:gosec // four
}

// MarshalText implements encoding.TextMarshaler.
func (m Mode) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (m *Mode) UnmarshalText(b []byte) error {
	v, ok := ParseMode(string(b))
	if !ok {
		return fmt.Errorf("mode %q: not one of %s", b, strings.Join(ModeNames, ", "))
	}
	*m = v
	return nil
}

// Verdict is what became of a proposal.
type Verdict string

// The verdicts.
const (
	Applied     Verdict = "applied"     // it is put in force, step by step
	Recommended Verdict = "recommended" // its mode does not allow more, or an operator has not approved it yet
	Refused     Verdict = "refused"     // by the guard
	Held        Verdict = "held"        // the tuner wants no change
	Trying      Verdict = "trying"      // on part of the traffic
	Promoted    Verdict = "promoted"    // the trial has shown no harm: it is put in force
	RolledBack  Verdict = "rolled_back" // the trial has shown harm, or not enough; or the hold-back has
	Fenced      Verdict = "fenced"      // the tuner has failed, and is left out
	Ordered     Verdict = "ordered"     // by an operator
	Noticed     Verdict = "noticed"     // a target serves otherwise than before: what was known of it is forgotten
	Verified    Verdict = "measured"    // what a decision in force has done
)

// Verdicts are all of them.
var Verdicts = []Verdict{Applied, Recommended, Refused, Held, Trying, Promoted, RolledBack, Fenced, Ordered, Noticed, Verified}

// Decision is one proposal and what became of it. It is plain data, from which the proposal and the verdict of the guard can be computed again.
type Decision struct {
	ID      string    `json:"id,omitempty"` // by which operators name it; the same for all that becomes of a proposal
	At      time.Time `json:"at"`
	Route   string    `json:"route"`
	Tuner   string    `json:"tuner"`
	Mode    Mode      `json:"mode"`
	Verdict Verdict   `json:"verdict"`
	Why     string    `json:"why,omitempty"` // the verdict is what it is
	By      string    `json:"by,omitempty"`  // the operator
	Expires time.Time `json:"expires"`       // a recommendation that nobody approves, a trial that comes to no end, an order; zero: never
	Proposal

	Evidence *RouteEvidence  `json:"evidence,omitempty"` // what it follows from
	Guard    *GuardState     `json:"guard,omitempty"`    // as it was before
	Pinned   []string        `json:"pinned,omitempty"`   // parameters that the tuner had to leave alone
	Bounds   *Bounds         `json:"bounds,omitempty"`   // of the guard
	Settings json.RawMessage `json:"settings,omitempty"` // of the tuner
	Measured *Measured       `json:"measured,omitempty"`
	Reviewed int             `json:"reviewed,omitempty"` // times that its effect was looked at
	Trial    *TrialReport    `json:"trial,omitempty"`
}
