package pick

import (
	"slices"

	"llm-auto-optimizer/proxy/policy"
)

// plan is what a policy snapshot says of a route to an arm, made ready for choosing.
type plan struct {
	params   *policy.Parameters
	weights  [Classes][]float64 // by target
	capacity [Classes][]float64 // by target: what its operator has given it, whatever part it gets now
	group    [Classes][]uint8   // by target: equals have the same number
	tuned    [Classes]bool      // the weights are others than the capacities
}

// plans are those of a snapshot, by arm.
type plans struct {
	of   *policy.Snapshot
	arms [policy.Arms]*plan
}

// planFor is the plan of a snapshot for an arm; those of the last snapshot are kept, since exchanges under way obey at most a few.
func (r *Route) planFor(s *policy.Snapshot, a policy.Arm) *plan {
	if p := r.plans.Load(); p != nil && p.of == s {
		return p.arms[a]
	}
	p := r.makePlans(s)
	r.plans.Store(p)
	return p.arms[a]
}

func (r *Route) makePlans(s *policy.Snapshot) *plans {
	route := s.Routes[r.spec.Name]
	static := &route.Parameters
	if route.Static != nil {
		static = route.Static
	}
	p := &plans{of: s}
	for a := range policy.Arms {
		params := route.Of(a)
		for b := range a {
			if p.arms[b].params == params {
				p.arms[a] = p.arms[b]
			}
		}
		if p.arms[a] == nil {
			p.arms[a] = r.makePlan(params, static)
		}
	}
	return p
}

func (r *Route) makePlan(params, static *policy.Parameters) *plan {
	p := &plan{params: params}
	for class := range p.weights {
		weights, capacity, group := make([]float64, len(r.targets)), make([]float64, len(r.targets)), make([]uint8, len(r.targets))
		for i, t := range r.targets {
			weights[i] = max(0, params.Targets[t.spec.Name].Weights[class])
			capacity[i] = max(0, static.Targets[t.spec.Name].Weights[class])
			group[i] = uint8(i)
			for j, other := range r.targets[:i] {
				if t.spec.Equal != "" && t.spec.Equal == other.spec.Equal && t.spec.Priority == other.spec.Priority && weights[i] == weights[j] {
					group[i] = group[j]
					break
				}
			}
		}
		p.weights[class], p.capacity[class], p.group[class] = weights, capacity, group
		p.tuned[class] = !slices.Equal(weights, capacity)
	}
	return p
}

// set is a set of targets of a route, by index.
type set uint64

func (s set) has(i int) bool { return s>>i&1 == 1 }
func (s *set) add(i int)     { *s |= 1 << i }
func (s *set) remove(i int)  { *s &^= 1 << i }
