package optimizer

import (
	"encoding/json"
	"fmt"
	"time"

	"llm-auto-optimizer/proxy/policy"
)

// memory is what of a loop outlives a restart. Trials do not: their arms end with the process.
type memory struct {
	Format  int                    `json:"format"`
	Decided uint64                 `json:"decided"`
	Orders  orders                 `json:"orders"`
	Fences  map[string]Fence       `json:"fences,omitempty"`
	Failed  map[string]failing     `json:"failed,omitempty"`
	Routes  map[string]routeMemory `json:"routes,omitempty"`
}

type routeMemory struct {
	Static policy.Parameters           `json:"static"`
	Guards map[string]GuardState       `json:"guards,omitempty"`
	Goals  map[string]*goal            `json:"goals,omitempty"`
	Backed map[string]backOffMemory    `json:"backed,omitempty"`
	Barred []bar                       `json:"barred,omitempty"`
	Parked map[string][classes]float64 `json:"parked,omitempty"`
}

type backOffMemory struct {
	Why        string             `json:"why"`
	Until      time.Time          `json:"until"`
	Directions map[string]float64 `json:"directions"`
	Times      int                `json:"times"`
}

const memoryFormat = 1

// MarshalBinary implements encoding.BinaryMarshaler. Equal loops give equal bytes.
func (l *Loop) MarshalBinary() ([]byte, error) {
	m := memory{memoryFormat, l.decided, l.orders, l.fences, l.failed, map[string]routeMemory{}}
	for name, r := range l.routes {
		k := routeMemory{r.static, map[string]GuardState{}, r.goals, map[string]backOffMemory{}, r.barred, r.parked}
		for tuner, g := range r.guards {
			k.Guards[tuner] = *g.clone()
		}
		for tuner, b := range r.backed {
			k.Backed[tuner] = backOffMemory{b.why, b.until, b.directions, b.times}
		}
		m.Routes[name] = k
	}
	b, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode the loop's memory: %w", err)
	}
	return b, nil
}

// UnmarshalBinary implements encoding.BinaryUnmarshaler, for a loop that has made no step yet. On an error the loop knows nothing.
func (l *Loop) UnmarshalBinary(b []byte) error {
	var m memory
	if err := json.Unmarshal(b, &m); err != nil {
		return fmt.Errorf("decode the loop's memory: %w", err)
	}
	if m.Format != memoryFormat {
		return fmt.Errorf("decode the loop's memory: format %d is not known", m.Format)
	}
	l.decided, l.orders = m.Decided, m.Orders
	if m.Fences != nil {
		l.fences = m.Fences
	}
	if m.Failed != nil {
		l.failed = m.Failed
	}
	for name, k := range m.Routes {
		r := l.route(time.Time{}, &Known{Name: name, Static: k.Static})
		r.parked, r.barred = k.Parked, k.Barred
		for tuner, g := range k.Guards {
			r.guards[tuner] = &guard{l.settings.Bounds, g}
		}
		for tuner, g := range k.Goals {
			if g != nil {
				r.goals[tuner] = g
			}
		}
		for tuner, b := range k.Backed {
			r.backed[tuner] = &backOff{b.Why, b.Until, b.Directions, b.Times}
		}
	}
	return nil
}
