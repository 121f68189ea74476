package config

import (
	"math/rand/v2"
	"testing"
)

const flagCallers = 100_000

func flagsOf(f Flag, profile string) *FlagSet {
	return newFlagSet(map[string]Flag{"request_usage": f}, profile)
}

// The share of callers that a percentage lets in is that percentage, and raising it only adds callers.
func TestFlag_PercentageOfCallers(t *testing.T) {
	t.Parallel()
	draw := rand.New(rand.NewPCG(1, 2))
	callers := make([]uint64, flagCallers)
	for i := range callers {
		callers[i] = draw.Uint64()
	}
	in := make([]bool, flagCallers)
	for _, percent := range []Percent{0, 0.5, 1, 5, 25, 33.3, 50, 75, 99, 99.5, 100} {
		set := flagsOf(Flag{Enabled: true, Percent: percent, Share: 100}, "")
		n := 0
		for i, caller := range callers {
			on := set.On(FlagRequestUsage, &Subject{Caller: caller})
			if in[i] && !on {
				t.Fatalf("at %v %% a caller that was in is out", percent)
			}
			if in[i] = on; on {
				n++
			}
		}
		if got := 100 * float64(n) / flagCallers; got < float64(percent)-1 || got > float64(percent)+1 {
			t.Errorf("%v %% let in %.2f %%", percent, got)
		}
		if percent == 0 && n > 0 || percent == 100 && n < flagCallers {
			t.Errorf("%v %% let in %d of %d", percent, n, flagCallers)
		}
	}
}

// Consecutive numbers are spread as evenly, and two flags choose apart from each other.
func TestFlag_ChoicesAreIndependent(t *testing.T) {
	t.Parallel()
	half := Flag{Enabled: true, Percent: 50, Share: 100}
	set := newFlagSet(map[string]Flag{"request_usage": half, "response_headers": half}, "")
	both, draws := 0, 0
	random := flagsOf(Flag{Enabled: true, Percent: 100, Share: 20}, "")
	for i := range uint64(flagCallers) {
		if set.On(FlagRequestUsage, &Subject{Caller: i}) && set.On(FlagResponseHeaders, &Subject{Caller: i}) {
			both++
		}
		if random.On(FlagRequestUsage, &Subject{Draw: i}) {
			draws++
		}
	}
	if got := float64(both) / flagCallers; got < 0.24 || got > 0.26 {
		t.Errorf("two halves have %.3f in common, want a quarter", got)
	}
	if got := float64(draws) / flagCallers; got < 0.19 || got > 0.21 {
		t.Errorf("a share of 20 %% let in %.3f", got)
	}
}

func TestFlag_Conditions(t *testing.T) {
	t.Parallel()
	headers := map[string]string{"x-team": "search", TagsHeader: "beta, nightly"}
	subject := &Subject{Route: "direct", Header: func(name string) []byte {
		if v, ok := headers[name]; ok {
			return []byte(v)
		}
		return nil
	}}
	all := Flag{Enabled: true, Percent: 100, Share: 100}
	check := func(name string, want bool, change func(f *Flag)) {
		t.Helper()
		f := all
		change(&f)
		if got := flagsOf(f, "production").On(FlagRequestUsage, subject); got != want {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
	check("no condition", true, func(*Flag) {})
	check("off", false, func(f *Flag) { f.Enabled = false })
	check("this environment", true, func(f *Flag) { f.Environments = []string{"test", "production"} })
	check("another environment", false, func(f *Flag) { f.Environments = []string{"test"} })
	check("this route", true, func(f *Flag) { f.Routes = []string{"direct"} })
	check("another route", false, func(f *Flag) { f.Routes = []string{"chat"} })
	check("one of the headers", true, func(f *Flag) { f.Headers = []string{"X-Other: 1", "X-Team: search"} })
	check("another value", false, func(f *Flag) { f.Headers = []string{"x-team: ads"} })
	check("no such header", false, func(f *Flag) { f.Headers = []string{"x-none: "} })
	check("one of the tags", true, func(f *Flag) { f.Tags = []string{"alpha", "nightly"} })
	check("another tag", false, func(f *Flag) { f.Tags = []string{"night"} })
	check("all at once", true, func(f *Flag) {
		f.Tags, f.Headers, f.Routes = []string{"beta"}, []string{"x-team:search"}, []string{"direct"}
	})
	check("one condition fails", false, func(f *Flag) { f.Tags, f.Headers = []string{"beta"}, []string{"x-team: ads"} })
}

//nolint:paralleltest // it counts the allocations of the whole process
func TestFlag_AllocatesNothing(t *testing.T) {
	set, subject := costlyFlag()
	if n := testing.AllocsPerRun(100, func() { set.On(FlagRequestUsage, subject) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func costlyFlag() (*FlagSet, *Subject) {
	tags := []byte("alpha, beta")
	set := flagsOf(Flag{Enabled: true, Percent: 99.9, Share: 99.9, Routes: []string{"a", "direct"}, Tags: []string{"beta"}}, "")
	return set, &Subject{Caller: 1, Draw: 2, Route: "direct", Header: func(string) []byte { return tags }}
}

// BenchmarkFlag_On asks a flag that is on for all, as most are, and one with every condition.
func BenchmarkFlag_On(b *testing.B) {
	plain := flagsOf(Flag{Enabled: true, Percent: 100, Share: 100}, "")
	partly := flagsOf(Flag{Enabled: true, Percent: 50, Share: 100}, "")
	all, subject := costlyFlag()
	for _, bc := range []struct {
		name string
		set  *FlagSet
	}{{"for=all", plain}, {"for=half", partly}, {"for=conditions", all}} {
		b.Run(bc.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				bc.set.On(FlagRequestUsage, subject)
			}
		})
	}
}
