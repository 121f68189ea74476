package optimizer

import (
	"fmt"
	"math"
	"reflect"
	"time"
)

// Fence is why a tuner is left out, and for how long.
type Fence struct {
	Why   string    `json:"why"`
	Until time.Time `json:"until"`
}

// fencedFor is how long a tuner that has failed is left out the first time, whether it has panicked or hung; twice as long each time after, up to fencedMost.
const (
	fencedFor  = time.Hour
	fencedMost = 24 * time.Hour
)

// failing is how often a tuner has failed, and until when it was left out the last time. It has mended once it goes well for fencedMost.
type failing struct {
	Times int       `json:"times"`
	Until time.Time `json:"until"`
}

// Fence leaves a tuner out, because it has failed.
func (l *Loop) Fence(now time.Time, tuner, route, why string) Decision {
	f := l.failed[tuner]
	if now.Sub(f.Until) >= fencedMost {
		f.Times = 0
	}
	f.Until = now.Add(min(fencedFor<<min(f.Times, 8), fencedMost))
	f.Times++
	l.failed[tuner], l.fences[tuner] = f, Fence{why, f.Until}
	return Decision{At: now, Route: route, Tuner: tuner, Mode: Observe, Verdict: Fenced, Why: why, Expires: f.Until}
}

// Fences are the tuners that are left out.
func (l *Loop) Fences() map[string]Fence { return l.fences }

// propose asks a tuner; failed says what is wrong with the tuner where it can't be trusted.
func propose(t Tuner, e *RouteEvidence) (p Proposal, failed string) {
	defer func() {
		if v := recover(); v != nil {
			p, failed = Proposal{}, fmt.Sprintf("the tuner panicked: %v", v)
		}
	}()
	p = t.Propose(e)
	for _, v := range []float64{p.Expected.Cost, p.Expected.Relative, p.Expected.Violations, p.Evidence.Value, p.Evidence.Threshold} {
		if !finite(v) {
			return Proposal{}, "the tuner expects what is no number"
		}
	}
	for _, c := range p.Changes {
		if !finite(c.To) {
			return Proposal{}, fmt.Sprintf("the tuner wants %s to be %v", c.Name, c.To)
		}
	}
	return p, ""
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// unusable says what of the evidence is no number, or can't be; empty: all is well.
func (e *RouteEvidence) unusable() string { return unusable(reflect.ValueOf(e).Elem(), nil, 0) }

func unusable(v reflect.Value, of reflect.Type, field int) string {
	switch v.Kind() {
	case reflect.Float64:
		if f := v.Float(); !finite(f) {
			return fmt.Sprintf("%s is %v", of.Field(field).Name, f)
		}
	case reflect.Struct:
		if !v.CanAddr() {
			c := reflect.New(v.Type()).Elem()
			c.Set(v)
			v = c
		}
		switch s := v.Addr().Interface().(type) { // that of a struct itself would be a copy on the heap
		case *time.Time:
			return ""
		case *Cell:
			if s.Count < 0 || s.Violations < 0 || s.Violations > s.Count+1e-9 || s.Unit < 0 {
				return fmt.Sprintf("%s is %+v", of.Field(field).Name, *s)
			}
		case *Load:
			if s.Rate < 0 || s.Input < 0 || s.Output < 0 {
				return fmt.Sprintf("%s is %+v", of.Field(field).Name, *s)
			}
		}
		for i := range v.NumField() {
			if why := unusable(v.Field(i), v.Type(), i); why != "" {
				return why
			}
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			if why := unusable(v.Index(i), of, field); why != "" {
				return why
			}
		}
	case reflect.Map:
		for it := v.MapRange(); it.Next(); {
			if why := unusable(it.Value(), of, field); why != "" {
				return why
			}
		}
	case reflect.Pointer:
		if !v.IsNil() {
			return unusable(v.Elem(), of, field)
		}
	default:
	}
	return ""
}
