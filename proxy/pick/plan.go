package pick

import "llm-auto-optimizer/proxy/policy"

// plan is what a policy snapshot says of a route, made ready for choosing.
type plan struct {
	of      *policy.Snapshot
	params  policy.Route
	weights [Classes][]float64 // by target
	group   [Classes][]uint8   // by target: equals have the same number
}

// planFor is the plan of a snapshot; the last one is kept, since exchanges under way obey at most a few.
func (r *Route) planFor(s *policy.Snapshot) *plan {
	if p := r.plan.Load(); p != nil && p.of == s {
		return p
	}
	p := r.makePlan(s)
	r.plan.Store(p)
	return p
}

func (r *Route) makePlan(s *policy.Snapshot) *plan {
	p := &plan{of: s, params: s.Routes[r.spec.Name]}
	for class := range p.weights {
		weights, group := make([]float64, len(r.targets)), make([]uint8, len(r.targets))
		for i, t := range r.targets {
			weights[i] = max(0, p.params.Targets[t.spec.Name].Weights[class])
			group[i] = uint8(i)
			for j, other := range r.targets[:i] {
				if t.spec.Equal != "" && t.spec.Equal == other.spec.Equal && t.spec.Priority == other.spec.Priority && weights[i] == weights[j] {
					group[i] = group[j]
					break
				}
			}
		}
		p.weights[class], p.group[class] = weights, group
	}
	return p
}

// set is a set of targets of a route, by index.
type set uint64

func (s set) has(i int) bool { return s>>i&1 == 1 }
func (s *set) add(i int)     { *s |= 1 << i }
