package simulate

import (
	"fmt"
	"strings"
	"time"

	"llm-auto-optimizer/bench/sim"
	"llm-auto-optimizer/proxy/limit"
)

// provider reads provider NAME quota QUOTA.
func (s *Scenario) provider(w *words) {
	p := Provider{Name: w.one("a name")}
	if index(s.Providers, p.Name, func(p *Provider) string { return p.Name }) >= 0 {
		w.fail(p.Name, "a new name")
	}
	w.expect("quota")
	p.Quota = w.quota("")
	s.Providers = append(s.Providers, p)
}

// caller reads caller NAME and what is said of it. With times N it is N callers, NAME1 to NAMEN.
func (s *Scenario) caller(w *words) {
	c := Caller{Name: w.one("a name"), Load: 1}
	times := 0
	for w.more() {
		const keys = "load, limit, tokens, concurrent, priority, times"
		switch key := w.one(keys); key {
		case "load":
			c.Load = w.number(1e-6, 1e6)
		case "limit":
			c.Limits = append(c.Limits, w.limit(limit.Requests))
		case "tokens":
			c.Limits = append(c.Limits, w.limit(limit.Tokens))
		case "concurrent":
			c.Limits = append(c.Limits, limit.Limit{Of: limit.Concurrent, Most: int64(w.whole(1, 1e6))})
		case "priority":
			c.Priority = w.whole(0, 100)
		case "times":
			times = w.whole(1, 1000)
		default:
			w.fail(key, keys)
		}
	}
	for i := range max(times, 1) {
		one := c
		if times > 0 {
			one.Name = fmt.Sprint(c.Name, i+1)
		}
		if s.callerNamed(one.Name) >= 0 {
			w.fail(one.Name, "a new name")
		}
		s.Callers = append(s.Callers, one)
	}
}

// step reads what stands behind at T, where that is about limits or traffic; false where it is about a target.
func (s *Scenario) step(w *words, at time.Duration, line int) bool {
	t := Step{At: at, line: line}
	switch {
	case !w.more():
		return false
	case w.list[w.at] == "provider" && len(s.Providers) > 0:
		w.at++
		if t.Provider = index(s.Providers, w.one("a provider"), func(p *Provider) string { return p.Name }); t.Provider < 0 {
			w.fail(w.list[w.at-1], "a provider")
			return true
		}
		w.expect("quota")
		t.What, t.Quota = "quota", w.quota(s.Providers[t.Provider].Quota.String())
	case w.list[w.at] == "caller" && len(s.Callers) > 0:
		w.at++
		if t.Caller = s.callerNamed(w.one("a caller")); t.Caller < 0 {
			w.fail(w.list[w.at-1], "a caller")
			return true
		}
		w.expect("load")
		t.What, t.Value = "load", w.times()
	case w.list[w.at] == "traffic":
		w.at++
		w.expect("rate")
		t.What, t.Value = "rate", w.marked("", "/s", "a rate such as 30/s", 1e5)
	default:
		return false
	}
	if w.more() {
		w.expect("for")
		t.For = w.duration()
	}
	s.Steps = append(s.Steps, t)
	return true
}

func (s *Scenario) callerNamed(name string) int {
	return index(s.Callers, name, func(c *Caller) string { return c.Name })
}

// index is where the one of that name is; -1: nowhere.
func index[T any](list []T, name string, of func(*T) string) int {
	for i := range list {
		if of(&list[i]) == name {
			return i
		}
	}
	return -1
}

// quota reads 100/s, or what llmopt sim --quota takes, on top of what was said before.
func (w *words) quota(before string) sim.Quota {
	text := w.one("a quota such as 100/s or requests=100/s,headers=off")
	if !strings.Contains(text, "=") {
		text = "requests=" + text
	}
	if before != "" {
		text = before + "," + text
	}
	q, err := sim.ParseQuota(text)
	if err != nil {
		w.fail(w.list[w.at-1], "a quota such as 100/s or requests=100/s,headers=off ("+err.Error()+")")
	}
	return q
}

// limit reads 20/s, 600/min or 10000/h.
func (w *words) limit(of limit.Dimension) limit.Limit {
	const want = "a limit such as 20/s, 600/min or 10000/h"
	for suffix, per := range map[string]limit.Period{"/s": limit.Second, "/min": limit.Minute, "/h": limit.Hour} {
		if w.more() && strings.HasSuffix(w.list[w.at], suffix) {
			return limit.Limit{Of: of, Per: per, Most: int64(w.marked("", suffix, want, 1e12))}
		}
	}
	w.fail(w.one(want), want)
	return limit.Limit{}
}

// checkLimits looks at what no line shows of limits.
func (s *Scenario) checkLimits() error {
	for i := range s.Steps {
		t := &s.Steps[i]
		switch {
		case t.At >= s.For:
			return fmt.Errorf("line %d: at %v is after the end of the run, %v", t.line, t.At, s.For)
		case t.What != "quota" && s.Traffic.Trace != "":
			return fmt.Errorf("line %d: a trace has its own rate", t.line)
		case t.What == "rate" && t.Value == 0:
			return fmt.Errorf("line %d: want a rate above 0", t.line)
		}
	}
	if len(s.Callers) > 0 && s.Traffic.Trace != "" {
		return fmt.Errorf("callers: a trace has none")
	}
	return nil
}
