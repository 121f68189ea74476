package proxy

import (
	"encoding/binary"
	"time"

	"llm-auto-optimizer/config"
	"llm-auto-optimizer/proxy/limit"
)

// LimitView is a configured limit and how it stands.
type LimitView struct {
	config.Limit
	Met, Refused uint64 // requests that it stood in the way of, and those that were refused because of it
	Entries      int    // callers, routes and targets that it keeps apart
	Standings    []LimitStanding
}

// LimitStanding is how one number of a limit stands for one of those that it keeps apart.
type LimitStanding struct {
	limit.Standing
	CallerName, RouteName, TargetName string // empty where they are not kept apart
}

// LimitsView tells how the limits stand: of each those that are used most, at most so many.
func (p *Proxy) LimitsView(now time.Time, most int) (list []LimitView) {
	s, set := p.settings.Load(), p.gate.Set()
	names := s.limitNames()
	stats := map[string]limit.RuleStats{}
	for _, st := range set.Stats() {
		stats[st.Rule] = st
	}
	for i := range s.limits.rules {
		name := s.limits.rules[i].Name
		st := stats[name]
		v := LimitView{Limit: *s.limits.named[name], Met: st.Met, Refused: st.Refused, Entries: st.Entries}
		for _, one := range set.Look(now, name, most) {
			one.Left = leftOf(&one)
			v.Standings = append(v.Standings, LimitStanding{one, callerText(names, one.Caller), names[one.Route], targetText(names, one.Target)})
		}
		list = append(list, v)
	}
	return list
}

// leftOf is the share of the limit that is left. Where not all of it may come at once, what may is taken for all of it: nothing used is nothing used.
func leftOf(s *limit.Standing) int64 {
	if s.Holds <= 0 || s.Holds >= s.Limit.Most {
		return s.Left
	}
	return int64(float64(s.Left) / float64(s.Holds) * float64(s.Limit.Most))
}

// limitNames are the names of callers, routes and targets by what limits know them by.
func (s *settings) limitNames() map[limit.ID]string {
	names := map[limit.ID]string{directID: directRoute}
	for _, k := range s.callers.byCredential {
		names[k.id] = k.name
	}
	for _, k := range s.callers.byHeader {
		names[k.id] = k.name
	}
	for _, r := range s.routes.list {
		names[r.id] = r.name
		for _, t := range r.targets {
			names[limit.Name(t.owner.name)] = t.owner.name
		}
	}
	return names
}

// callerText is a caller's name, or the hash that the access log has.
func callerText(names map[limit.ID]string, id limit.ID) string {
	if name := names[id]; name != "" || id == 0 {
		return name
	}
	var h hashID
	binary.LittleEndian.PutUint64(h[:], uint64(id))
	return string(h.appendTo(nil))
}

// targetText is a target's name. Those of requests without a route are not known by their hash.
func targetText(names map[limit.ID]string, id limit.ID) string {
	if name := names[id]; name != "" || id == 0 {
		return name
	}
	return "other"
}

// Waiting counts what the limits hold up.
type Waiting struct {
	Now           int64  // requests that wait
	Late, Crowded uint64 // those that have waited in vain, or found too much waiting
	Leases        int64  // that requests under way hold
	Leaked        uint64
	InputBias     float64 // by which share of them prompts were thought too long of late
}

// LimitsWaiting tells what waits for room.
func (p *Proxy) LimitsWaiting() Waiting {
	held, leaked := p.gate.Set().Leases()
	return Waiting{p.gate.Waiting(), p.gate.Late.Load(), p.gate.Crowded.Load(), held, leaked, p.estimates.Bias()}
}

// Balances appends what was spent under the limits in dollars, so that it can outlive a restart; RestoreBalances adds what was.
func (p *Proxy) Balances(now time.Time) []limit.Balance { return p.gate.Set().Balances(nil, now) }

// RestoreBalances adds balances from before a restart, as far as they still count. It returns how many did.
func (p *Proxy) RestoreBalances(now time.Time, all []limit.Balance) int {
	return p.gate.Set().Restore(now, all)
}
