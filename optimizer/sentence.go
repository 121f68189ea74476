package optimizer

import (
	"fmt"
	"math"
	"strings"

	"llm-auto-optimizer/analysis"
	"llm-auto-optimizer/config"
)

// String is the decision as a sentence, after its time of day in UTC.
func (d *Decision) String() string { return d.At.UTC().Format("15:04:05") + " " + d.Sentence() }

// Sentence is what became of a proposal, and why: with the statistic that it rests on, what was expected and what was measured.
func (d *Decision) Sentence() string {
	route := d.Route
	if route == "" {
		route = "all routes"
	}
	action, cause, _ := strings.Cut(d.Reason, ": ")
	done, known := past(action)
	switch {
	case d.By != "":
		return d.ordered()
	case d.Verdict == Fenced:
		return fmt.Sprintf("%s left its %s tuner out%s: %s", route, d.Tuner, d.length(), d.Why)
	case !known && d.Verdict == Held && len(d.Changes) == 0:
		return route + " stays as it is: " + d.Reason + told(&d.Proposal.Evidence)
	case !known:
		return route + ": " + d.plain()
	}
	because := ""
	if cause != "" {
		because = ": " + cause
	}
	because += told(&d.Proposal.Evidence)
	switch d.Verdict {
	case Held:
		return fmt.Sprintf("%s would %s, but %s only observes%s%s", route, action, d.Tuner, because, d.expected())
	case Recommended:
		return fmt.Sprintf("%s should %s%s%s; approve %s%s", route, action, because, d.expected(), d.ID, d.within())
	case Refused:
		return fmt.Sprintf("%s may not %s: %s%s", route, action, d.Why, wanted(because))
	case Trying:
		if d.Why == "" && d.Trial != nil {
			return fmt.Sprintf("%s tries on %.3g %% of the sessions to %s%s%s", route, 100*d.Trial.Share, action, because, d.expected())
		}
		return fmt.Sprintf("%s raised the trial of %s (%s): %s%s", route, d.ID, action, d.Why, d.tried())
	case Promoted:
		return fmt.Sprintf("%s %s after the trial of %s: %s%s", route, done, d.ID, d.Why, d.tried())
	case RolledBack:
		if d.ID == "" {
			return fmt.Sprintf("%s %s: %s", route, done, d.Why)
		}
		return fmt.Sprintf("%s rolled back the trial of %s (%s): %s%s", route, d.ID, action, d.Why, d.tried())
	case Verified:
		if d.Measured != nil {
			return fmt.Sprintf("%s %s at %s UTC: %s", route, done, d.Measured.From.UTC().Format("15:04"), d.Why)
		}
	default:
	}
	return route + " " + done + because + d.expected()
}

// past is what has happened, in the words of a route that tells it; known is false where the action is no tuner's.
func past(action string) (done string, known bool) {
	verb, rest, _ := strings.Cut(action, " ")
	done, known = map[string]string{
		"reserve": "now reserves", "use": "now uses", "have": "now has",
		"move": "moved", "begin": "began", "hedge": "now hedges", "give": "now gives", "repeat": "now repeats", "back": "went back", "keep": "now keeps", "leave": "now leaves",
	}[verb]
	return done + " " + rest, known
}

// what names what a proposal is about, in brackets.
func (p *Proposal) what() string {
	action, _, _ := strings.Cut(p.Reason, ": ")
	if action == "" {
		return ""
	}
	return " (" + action + ")"
}

// ordered is the sentence of an operator's order.
func (d *Decision) ordered() string {
	s := d.By + " " + d.Reason + d.length()
	if d.Route != "" {
		s = d.Route + ": " + s
	}
	if d.Why != "" {
		s += ": " + d.Why
	}
	if d.Verdict == Applied {
		s += d.expected()
	}
	return s
}

// plain is what can be said of a decision whose action is none that is known.
func (d *Decision) plain() string {
	s := d.Reason + told(&d.Proposal.Evidence)
	switch {
	case d.Verdict != Applied && d.Verdict != Ordered:
		s = strings.ReplaceAll(string(d.Verdict), "_", " ") + ": " + s
	case d.Why != "":
		s += ": "
	}
	if d.Why != "" {
		if d.Reason != "" && d.Verdict != Applied && d.Verdict != Ordered {
			return s + " (" + d.Why + ")" + d.tried()
		}
		s += d.Why
	}
	return s + d.expected() + d.tried()
}

// told is a statistic beside its threshold, in brackets; empty where there is none.
func told(r *analysis.Reason) string {
	if r.Method == "" {
		return ""
	}
	relation := "<"
	switch {
	case r.Value == r.Threshold:
		relation = "="
	case r.Value > r.Threshold:
		relation = ">"
	}
	return fmt.Sprintf(" (%s %.3g %s %.3g)", r.Statistic, r.Value, relation, r.Threshold)
}

// wanted says what a refused change was for.
func wanted(because string) string {
	cause, ok := strings.CutPrefix(because, ": ")
	if !ok {
		return because
	}
	return "; it was for " + cause
}

func (d *Decision) expected() string {
	if d.Expected == (Effect{}) {
		return ""
	}
	return "; " + d.Expected.String()
}

// String is what is expected, in words.
func (e Effect) String() string {
	return fmt.Sprintf("expected cost %s %%, violations %s %%", signed(100*e.Relative, digitsOfPercent(100*e.Relative)), signed(100*e.Violations, 2))
}

func (d *Decision) tried() string {
	if d.Trial == nil || d.Trial.Exchanges == [2]float64{} {
		return ""
	}
	return "; " + d.Trial.String()
}

// length is how long a decision holds that ends by itself.
func (d *Decision) length() string {
	if d.Expires.IsZero() {
		return ""
	}
	return " for " + config.FormatDuration(d.Expires.Sub(d.At))
}

func (d *Decision) within() string { return strings.Replace(d.length(), " for ", " within ", 1) }

// signed writes a difference with its sign; nothing that rounds to 0 has one.
func signed(v float64, digits int) string {
	s := fmt.Sprintf("%+.*f", digits, v)
	if strings.Trim(s, "+-0.") == "" {
		return s[1:]
	}
	return strings.Replace(s, "-", "−", 1)
}

// digitsOfPercent are enough for two digits of a percentage.
func digitsOfPercent(v float64) int {
	if math.Abs(v) < 9.95 {
		return 1
	}
	return 0
}
