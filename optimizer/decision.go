package optimizer

import (
	"fmt"
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

var modeNames = [...]string{"observe", "recommend", "canary", "auto"}

func (m Mode) String() string { return modeNames[m] }

// Verdict is what became of a proposal.
type Verdict string

// The verdicts.
const (
	Applied     Verdict = "applied"
	Recommended Verdict = "recommended" // its mode does not allow more
	Refused     Verdict = "refused"     // by the guard
	Held        Verdict = "held"        // the tuner wants no change
)

// Decision is one proposal and what became of it.
type Decision struct {
	At      time.Time `json:"at"`
	Route   string    `json:"route"`
	Tuner   string    `json:"tuner"`
	Verdict Verdict   `json:"verdict"`
	Why     string    `json:"why,omitempty"` // it was refused
	Proposal
}

// String is the decision as a sentence.
func (d *Decision) String() string {
	s := fmt.Sprintf("%s %s %s: %s", d.At.UTC().Format("15:04:05"), d.Route, d.Verdict, d.Reason)
	if d.Why != "" {
		s += " (" + d.Why + ")"
	}
	if d.Expected != (Effect{}) {
		s += fmt.Sprintf("; expected cost %+.1f %%, violations %+.2f %%", 100*d.Expected.Relative, 100*d.Expected.Violations)
	}
	return s
}
