package learn

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

func TestMinimise_Textbook(t *testing.T) {
	t.Parallel()
	check := func(name string, p Programme, want float64) []float64 {
		t.Helper()
		x, cost, err := Minimise(p)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			return nil
		}
		near(t, name, cost, want, 1e-8)
		return x
	}
	inf := math.Inf(1)
	// SciPy's documentation of linprog: x = (10, -3), cost -22
	x := check("SciPy", Programme{Cost: []float64{-1, 4}, Low: []float64{-1e3, -3}, Constraints: []Constraint{
		{[]float64{-3, 1}, AtMost, 6}, {[]float64{1, 2}, AtMost, 4}}}, -22)
	if x != nil {
		near(t, "x0", x[0], 10, 1e-8)
		near(t, "x1", x[1], -3, 1e-8)
	}
	// Beale's example (1955), on which the simplex method cycles without a rule against it
	check("Beale", Programme{Cost: []float64{-.75, 150, -.02, 6}, Constraints: []Constraint{
		{[]float64{.25, -60, -.04, 9}, AtMost, 0}, {[]float64{.5, -90, -.02, 3}, AtMost, 0}, {[]float64{0, 0, 1, 0}, AtMost, 1}}}, -.05)
	// Klee and Minty's cube (1972) in Chvátal's form, three dimensions
	check("Klee-Minty", Programme{Cost: []float64{-100, -10, -1}, Constraints: []Constraint{
		{[]float64{1, 0, 0}, AtMost, 1}, {[]float64{20, 1, 0}, AtMost, 100}, {[]float64{200, 20, 1}, AtMost, 10_000}}}, -10_000)
	// Dantzig's transport problem ("Linear Programming and Extensions", 1963, section 3-3): 153.675 thousand dollars
	distance := [2][3]float64{{2.5, 1.7, 1.8}, {2.5, 1.8, 1.4}}
	var transport Programme
	for _, row := range distance {
		for _, d := range row {
			transport.Cost = append(transport.Cost, 90*d/1000)
		}
	}
	for plant, capacity := range []float64{350, 600} {
		c := make([]float64, 6)
		for m := range 3 {
			c[3*plant+m] = 1
		}
		transport.Constraints = append(transport.Constraints, Constraint{c, AtMost, capacity})
	}
	for market, demand := range []float64{325, 300, 275} {
		c := make([]float64, 6)
		c[market], c[3+market] = 1, 1
		transport.Constraints = append(transport.Constraints, Constraint{c, AtLeast, demand})
	}
	check("Dantzig", transport, 153.675)
	check("shares", Programme{Cost: []float64{3, 1, 2}, Low: []float64{.01, .01, .01}, High: []float64{.8, .8, inf}, Constraints: []Constraint{
		{[]float64{1, 1, 1}, Equal, 1}, {[]float64{.001, .05, .01}, AtMost, .02}}}, 1.75775)
	check("the same constraint twice", Programme{Cost: []float64{1, 1}, Constraints: []Constraint{
		{[]float64{1, 1}, Equal, 2}, {[]float64{2, 2}, Equal, 4}, {[]float64{0, 0}, Equal, 0}}}, 2)
	check("one point", Programme{Cost: []float64{1, 1}, Constraints: []Constraint{{[]float64{1, 0}, Equal, 2}, {[]float64{0, 1}, Equal, 3}}}, 5)
	check("no constraint", Programme{Cost: []float64{1, 0}, Low: []float64{2, 1}}, 2)
	check("a variable that nothing holds", Programme{Cost: []float64{1, 5}, Constraints: []Constraint{{[]float64{1, 0}, AtLeast, 3}}}, 3)
	check("bounds that meet", Programme{Cost: []float64{-1, 1}, Low: []float64{2, 0}, High: []float64{2, inf}}, -2)
}

func TestMinimise_SaysWhyNot(t *testing.T) {
	t.Parallel()
	nan, inf := math.NaN(), math.Inf(1)
	check := func(name string, p Programme, want error) {
		t.Helper()
		if x, cost, err := Minimise(p); !errors.Is(err, want) {
			t.Errorf("%s: %v %v %v, want %v", name, x, cost, err, want)
		}
	}
	one := []float64{1}
	check("nothing", Programme{}, ErrMalformed)
	check("NaN cost", Programme{Cost: []float64{nan}}, ErrMalformed)
	check("short constraint", Programme{Cost: []float64{1, 2}, Constraints: []Constraint{{one, AtMost, 1}}}, ErrMalformed)
	check("infinite limit", Programme{Cost: one, Constraints: []Constraint{{one, AtMost, inf}}}, ErrMalformed)
	check("unknown relation", Programme{Cost: one, Constraints: []Constraint{{one, 7, 1}}}, ErrMalformed)
	check("bounds of another number", Programme{Cost: one, High: []float64{1, 2}}, ErrMalformed)
	check("infinite lower bound", Programme{Cost: one, Low: []float64{-inf}}, ErrMalformed)
	check("too large", Programme{Cost: make([]float64, 2000), High: make([]float64, 2000)}, ErrMalformed)
	check("bounds that cross", Programme{Cost: one, Low: []float64{2}, High: []float64{1}}, ErrInfeasible)
	check("contradiction", Programme{Cost: one, Constraints: []Constraint{{one, AtMost, 1}, {one, AtLeast, 2}}}, ErrInfeasible)
	check("equalities that contradict", Programme{Cost: []float64{1, 1}, Constraints: []Constraint{
		{[]float64{1, 1}, Equal, 1}, {[]float64{2, 2}, Equal, 3}}}, ErrInfeasible)
	check("nothing equals something", Programme{Cost: one, Constraints: []Constraint{{[]float64{0}, Equal, 1}}}, ErrInfeasible)
	check("unbounded", Programme{Cost: []float64{-1}, Constraints: []Constraint{{one, AtLeast, 1}}}, ErrUnbounded)
	check("unbounded without constraint", Programme{Cost: []float64{-1}}, ErrUnbounded)
	check("unbounded aside", Programme{Cost: []float64{1, -1}, Constraints: []Constraint{{[]float64{1, 0}, AtLeast, 1}}}, ErrUnbounded)
	check("infeasible before unbounded", Programme{Cost: []float64{1, -1}, Constraints: []Constraint{
		{[]float64{1, 0}, AtLeast, 2}, {[]float64{1, 0}, AtMost, 1}}}, ErrInfeasible)
}

// FuzzMinimise compares with the cheapest of all vertices of small programmes inside a box.
func FuzzMinimise(f *testing.F) {
	for seed := range uint64(40) {
		f.Add(seed, uint8(seed%3), uint8(seed%4))
	}
	f.Fuzz(func(t *testing.T, seed uint64, variables, constraints uint8) {
		n, m := 1+int(variables%3), int(constraints%5)
		draw := rand.New(rand.NewPCG(seed, 1))
		p := Programme{Low: make([]float64, n), High: make([]float64, n)}
		for i := range n {
			p.Cost = append(p.Cost, float64(draw.IntN(11)-5))
			p.Low[i] = float64(draw.IntN(5) - 2)
			p.High[i] = p.Low[i] + float64(draw.IntN(5))
		}
		for range m {
			c := Constraint{Limit: float64(draw.IntN(13) - 6), Relation: Relation(draw.IntN(3))}
			for range n {
				c.Coefficients = append(c.Coefficients, float64(draw.IntN(7)-3))
			}
			p.Constraints = append(p.Constraints, c)
		}
		x, cost, err := Minimise(p)
		want, feasible := cheapestVertex(p)
		switch {
		case feasible && err != nil:
			t.Fatalf("%+v: %v, cheapest %v", p, err, want)
		case !feasible && !errors.Is(err, ErrInfeasible):
			t.Fatalf("%+v: %v %v %v, there is no point", p, x, cost, err)
		case feasible && math.Abs(cost-want) > 1e-6:
			t.Fatalf("%+v: %v costs %v, cheapest %v", p, x, cost, want)
		case feasible && !meets(p, x):
			t.Fatalf("%+v: %v does not meet the constraints", p, x)
		}
	})
}

// FuzzMinimise_AsGonum compares with gonum's method on programmes like those of routing: shares by class, violations, capacities.
func FuzzMinimise_AsGonum(f *testing.F) {
	for seed := range uint64(60) {
		f.Add(seed, uint8(seed%15), uint8(seed%4))
	}
	f.Fuzz(func(t *testing.T, seed uint64, targets, capacities uint8) {
		p := mixProgramme(2+int(targets%15), 3, int(capacities%16), rand.New(rand.NewPCG(seed, 2)))
		c, err := checked(&p)
		if err != nil {
			t.Fatal(err)
		}
		x, err := minimiseBoxed(&p, c.low, c.high)
		s, wrong := standardise(p)
		if wrong != nil {
			t.Fatal(wrong)
		}
		plain, plainErr := s.solve()
		if errors.Is(plainErr, ErrNumerical) {
			t.Skip("gonum's method can't tell")
		}
		if !errors.Is(err, plainErr) && (err != nil) != (plainErr != nil) {
			t.Fatalf("%+v: %v, gonum's says %v", p, err, plainErr)
		}
		if err != nil {
			return
		}
		cost, want := 0., 0.
		for i, v := range p.Cost {
			cost, want = cost+v*x[i], want+v*plain[i]
		}
		if math.Abs(cost-want) > 1e-7*(1+math.Abs(want)) || !p.met(x, c.low) {
			t.Fatalf("%+v: %v costs %v, gonum's %v", p, x, cost, want)
		}
	})
}

// mixProgramme is one like those of routing.
func mixProgramme(targets, classes, capacities int, draw *rand.Rand) Programme {
	n := targets * classes
	p := Programme{Low: make([]float64, n), High: make([]float64, n)}
	for i := range n {
		p.Cost = append(p.Cost, draw.Float64())
		p.Low[i], p.High[i] = .001, .98
		if draw.IntN(10) == 0 {
			p.Low[i], p.High[i] = 0, 0
		}
	}
	for c := range classes {
		share, violations := make([]float64, n), make([]float64, n)
		for i := range targets {
			share[c*targets+i], violations[c*targets+i] = 1, .2*draw.Float64()*draw.Float64()
		}
		p.Constraints = append(p.Constraints, Constraint{share, Equal, 1}, Constraint{violations, AtMost, .05 * draw.Float64()})
	}
	for i := range min(capacities, targets) {
		load := make([]float64, n)
		for c := range classes {
			load[c*targets+i] = float64(c + 1)
		}
		p.Constraints = append(p.Constraints, Constraint{load, AtMost, 6 * draw.Float64()})
	}
	return p
}

// cheapestVertex tries every choice of as many planes as variables.
func cheapestVertex(p Programme) (least float64, feasible bool) {
	n := len(p.Cost)
	planes := append([]Constraint{}, p.Constraints...)
	for i := range n {
		row := make([]float64, n)
		row[i] = 1
		planes = append(planes, Constraint{row, AtLeast, p.Low[i]}, Constraint{row, AtMost, p.High[i]})
	}
	least = math.Inf(1)
	var choose func(from int, chosen []Constraint)
	choose = func(from int, chosen []Constraint) {
		if len(chosen) == n {
			if x, ok := meet(chosen); ok && meets(p, x) {
				cost := 0.
				for i := range x {
					cost += p.Cost[i] * x[i]
				}
				least, feasible = min(least, cost), true
			}
			return
		}
		for i := from; i < len(planes); i++ {
			choose(i+1, append(chosen[:len(chosen):len(chosen)], planes[i]))
		}
	}
	choose(0, nil)
	return least, feasible
}

// meet solves by Cramer's rule, which suffices for three planes.
func meet(planes []Constraint) ([]float64, bool) {
	n := len(planes)
	determinant := func(column int) float64 {
		a := [3][3]float64{{1, 0, 0}, {0, 1, 0}, {0, 0, 1}}
		for i, plane := range planes {
			for j, v := range plane.Coefficients {
				if a[i][j] = v; j == column {
					a[i][j] = plane.Limit
				}
			}
		}
		return a[0][0]*(a[1][1]*a[2][2]-a[1][2]*a[2][1]) - a[0][1]*(a[1][0]*a[2][2]-a[1][2]*a[2][0]) + a[0][2]*(a[1][0]*a[2][1]-a[1][1]*a[2][0])
	}
	d := determinant(-1)
	x := make([]float64, n)
	for j := range x {
		x[j] = determinant(j) / d
	}
	return x, math.Abs(d) > 1e-9
}

func meets(p Programme, x []float64) bool {
	const slack = 1e-6
	for i, v := range x {
		if v < p.Low[i]-slack || v > p.High[i]+slack {
			return false
		}
	}
	for _, c := range p.Constraints {
		sum := -c.Limit
		for i, v := range c.Coefficients {
			sum += v * x[i]
		}
		if c.Relation != AtLeast && sum > slack || c.Relation != AtMost && sum < -slack {
			return false
		}
	}
	return true
}

func BenchmarkMinimise(b *testing.B) {
	for _, n := range []struct{ targets, capacities int }{{3, 0}, {16, 0}, {16, 16}} {
		var all []Programme
		draw := rand.New(rand.NewPCG(1, 1))
		for len(all) < 64 {
			p := mixProgramme(n.targets, 3, n.capacities, draw)
			if _, _, err := Minimise(p); err == nil {
				all = append(all, p)
			}
		}
		b.Run(fmt.Sprintf("classes=3/targets=%d/capacities=%d", n.targets, n.capacities), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if _, _, err := Minimise(all[i%len(all)]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
