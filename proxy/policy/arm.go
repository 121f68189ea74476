package policy

// Arm says which of a route's parameters an exchange obeys, so that what they do can be measured side by side.
type Arm uint8

// The arms.
const (
	Treated  Arm = iota // the policy in force
	Holdback            // the operator's own settings
	Trial               // a change that is being tried
	Control             // the policy in force, for as many exchanges as the trial has
	Arms
)

var armNames = [Arms]string{"treated", "holdback", "canary", "control"}

// String is the arm's name in metrics and logs.
func (a Arm) String() string {
	if a >= Arms {
		return ""
	}
	return armNames[a]
}

// Canary is a change on trial.
type Canary struct {
	Parameters
	Share float64 `json:"share"` // of the exchanges outside the hold-back, at most a half of which the trial is compared with
	Salt  uint64  `json:"salt"`  // draws other sessions for each trial
}

// Arm is the arm of a session, known by any well mixed hash: the same for as long as hold-back and trial stay.
func (r *Route) Arm(session uint64) Arm {
	if r.Static != nil && unit(session) < r.Holdback {
		return Holdback
	}
	if c := r.Canary; c != nil {
		switch u := unit(mix(session ^ c.Salt)); {
		case u < c.Share:
			return Trial
		case u >= max(1-c.Share, c.Share):
			return Control
		}
	}
	return Treated
}

// Of are the parameters that an arm obeys.
func (r *Route) Of(a Arm) *Parameters {
	switch {
	case a == Holdback && r.Static != nil:
		return r.Static
	case a == Trial && r.Canary != nil:
		return &r.Canary.Parameters
	}
	return &r.Parameters
}

// unit brings a hash to [0, 1).
func unit(h uint64) float64 { return float64(h>>11) / (1 << 53) }

// mix is the finaliser of SplitMix64 (Steele, Lea, Flood 2014).
func mix(z uint64) uint64 {
	z += 0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}
