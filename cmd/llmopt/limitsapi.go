package main

import (
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"llm-auto-optimizer/optimizer/control/controlpb"
)

// listLimits shows the limits to the admin service.
func (g *gateway) listLimits(most int) *controlpb.ListLimitsResponse {
	w := g.proxy.LimitsWaiting()
	res := &controlpb.ListLimitsResponse{Waiting: w.Now, Late: w.Late, Crowded: w.Crowded, Leases: w.Leases, Leaked: w.Leaked, InputBias: w.InputBias}
	for _, v := range g.proxy.LimitsView(time.Now(), most) {
		l := &controlpb.Limit{
			Name: v.Name, Caller: v.Caller, Route: v.Route, Target: v.Target, Observe: v.Observe, Met: v.Met, Refused: v.Refused, Entries: int64(v.Entries),
		}
		for i := range v.Standings {
			s := &v.Standings[i]
			one := &controlpb.LimitStanding{
				Caller: s.CallerName, Route: s.RouteName, Target: s.TargetName, Shared: s.Shared, Of: s.Limit.Of.String(), Per: s.Limit.Per.String(),
				Most: s.Limit.Most, Left: s.Left,
			}
			if s.Reset > 0 {
				one.Reset_ = durationpb.New(s.Reset)
			}
			l.Standings = append(l.Standings, one)
		}
		res.Limits = append(res.Limits, l)
	}
	return res
}
