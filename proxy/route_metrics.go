package proxy

import (
	"fmt"
	"io"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"llm-auto-optimizer/proxy/pick"
)

// The names of the metrics of routes and their targets.
const (
	metricTargetUp        = "llmopt_target_up"                   // route, target: 1 where it takes traffic
	metricTargetState     = "llmopt_target_state"                // route, target, state: 1 for the state that it is in
	metricTargetInFlight  = "llmopt_target_in_flight"            // route, target
	metricTargetExpected  = "llmopt_target_expected_seconds"     // route, target
	metricTargetEjections = "llmopt_target_ejections_total"      // route, target
	metricTargetPicks     = "llmopt_target_picks_total"          // route, target, why
	metricRouteActive     = "llmopt_route_exchanges_in_flight"   // route
	metricRouteRepeats    = "llmopt_route_repeats_total"         // route
	metricRouteRefused    = "llmopt_route_repeats_refused_total" // route: by the retry budget
	metricRouteHedges     = "llmopt_route_hedges_total"          // route
	metricRouteHedgeCost  = "llmopt_route_hedge_cost_usd_total"  // route
)

// writeRoutes prints the metrics of the routes in force.
func (p *Proxy) writeRoutes(w io.Writer) {
	now := time.Now()
	for _, r := range p.settings.Load().routes.list {
		label := fmt.Sprintf("{route=%q}", r.name)
		active, _ := r.pick.Active()
		made, refused := r.pick.Repeats()
		metrics.WriteGaugeUint64(w, metricRouteActive+label, uint64(max(0, active))) //nolint:gosec // not negative
		metrics.WriteCounterUint64(w, metricRouteRepeats+label, made)
		metrics.WriteCounterUint64(w, metricRouteRefused+label, refused)
		hedges, lost := r.pick.Hedges()
		metrics.WriteCounterUint64(w, metricRouteHedges+label, hedges)
		metrics.WriteCounterFloat64(w, metricRouteHedgeCost+label, float64(lost)/1e9)
		for i, t := range r.pick.Targets() {
			s := t.Status(now)
			labels := fmt.Sprintf("route=%q,target=%q", s.Route, s.Target)
			up := uint64(0)
			if s.State <= pick.Full {
				up = 1
			}
			metrics.WriteGaugeUint64(w, metricTargetUp+"{"+labels+"}", up)
			metrics.WriteGaugeUint64(w, fmt.Sprintf("%s{%s,state=%q}", metricTargetState, labels, s.State.String()), 1)
			metrics.WriteGaugeUint64(w, metricTargetInFlight+"{"+labels+"}", uint64(max(0, s.InFlight))) //nolint:gosec // not negative
			metrics.WriteGaugeFloat64(w, metricTargetExpected+"{"+labels+"}", s.Expected.Seconds())
			metrics.WriteCounterUint64(w, metricTargetEjections+"{"+labels+"}", s.Ejections)
			for why := range r.targets[i].picks {
				if n := r.targets[i].picks[why].Load(); n > 0 {
					metrics.WriteCounterUint64(w, fmt.Sprintf("%s{%s,why=%q}", metricTargetPicks, labels, pick.Why(why).String()), n) //nolint:gosec // small
				}
			}
		}
	}
}
