package learn

import (
	"errors"
	"fmt"
	"math"

	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/optimize/convex/lp"
)

// Programme is a linear programme: minimise Cost · x within the constraints and 0 <= x, or Low <= x <= High where given.
type Programme struct {
	Cost        []float64
	Constraints []Constraint
	Low, High   []float64 // nil: 0 and no limit; Low is finite, High may be +Inf
}

// Constraint is Coefficients · x, which is at most, at least or equal to Limit.
type Constraint struct {
	Coefficients []float64
	Relation     Relation
	Limit        float64
}

// Relation is how a constraint compares.
type Relation int

// The relations.
const (
	AtMost Relation = iota
	AtLeast
	Equal
)

// Why a programme has no answer.
var (
	ErrInfeasible = errors.New("no point meets all constraints")
	ErrUnbounded  = errors.New("the cost can fall without limit")
	ErrMalformed  = errors.New("malformed programme")
	ErrNumerical  = errors.New("the simplex method found no answer")
)

// MostCells is how many coefficients, with slack variables, a programme may have.
const MostCells = 1 << 20

const lpTolerance = 1e-9

// Minimise returns the cheapest x and its cost, by the simplex method. The error wraps one of ErrInfeasible, ErrUnbounded, ErrMalformed
// (with what is wrong) and ErrNumerical; it never panics, whatever the input. Exponential in the worst case, about (constraints^2 variables) in
// practice: bounds are not counted as constraints. What that method can't tell for rounding is left to gonum's, which is slower by far.
func Minimise(p Programme) (x []float64, cost float64, err error) {
	c, err := checked(&p)
	if err != nil {
		return nil, 0, err
	}
	low, high := c.low, c.high
	x, err = minimiseBoxed(&p, low, high)
	if errors.Is(err, ErrNumerical) || err == nil && !p.met(x, low) {
		var s *standard
		if s, err = standardise(p); err == nil {
			x, err = s.solve()
		}
	}
	if err != nil {
		return nil, 0, err
	}
	x = x[:len(p.Cost)]
	for i := range x {
		x[i] = min(low[i]+x[i], high[i]) // rounding
		cost += p.Cost[i] * x[i]
	}
	return x, cost, nil
}

// met tells whether x, relative to the lower bounds, meets the constraints but for rounding.
func (p *Programme) met(x, low []float64) bool {
	for i := range p.Constraints {
		c := &p.Constraints[i]
		sum, size := -c.Limit, 1+math.Abs(c.Limit)
		for j, v := range c.Coefficients {
			sum += v * (low[j] + x[j])
			size = max(size, math.Abs(v*(low[j]+x[j])))
		}
		if off := sum / size; !(c.Relation == AtLeast || off <= 10*lpTolerance) || !(c.Relation == AtMost || off >= -10*lpTolerance) {
			return false
		}
	}
	return true
}

// standard is the programme as min c·y, A y = b, 0 <= y, where y is x less its lower bounds, then slacks.
type standard struct {
	c         []float64
	rows      [][]float64
	b         []float64
	low, high []float64
	variables int
}

// checked refuses what can't be a programme. What it returns has bounds only.
func checked(p *Programme) (*standard, error) {
	n := len(p.Cost)
	s := &standard{variables: n, low: make([]float64, n), high: make([]float64, n)}
	if n == 0 || !finite(p.Cost) {
		return nil, fmt.Errorf("%w: costs %v: one finite number a variable is needed", ErrMalformed, p.Cost)
	}
	if p.Low != nil && len(p.Low) != n || p.High != nil && len(p.High) != n {
		return nil, fmt.Errorf("%w: %d variables, %d lower and %d upper bounds", ErrMalformed, n, len(p.Low), len(p.High))
	}
	copy(s.low, p.Low)
	rows, width := len(p.Constraints), n
	for i := range n {
		s.high[i] = math.Inf(1)
		if p.High != nil {
			s.high[i] = p.High[i]
		}
		if math.IsNaN(s.low[i]) || math.IsInf(s.low[i], 0) || math.IsNaN(s.high[i]) {
			return nil, fmt.Errorf("%w: bounds of variable %d: %v to %v", ErrMalformed, i, s.low[i], s.high[i])
		}
		if s.low[i] > s.high[i] {
			return nil, fmt.Errorf("variable %d, %v to %v: %w", i, s.low[i], s.high[i], ErrInfeasible)
		}
		if !math.IsInf(s.high[i], 1) {
			rows, width = rows+1, width+1
		}
	}
	for i, c := range p.Constraints {
		if len(c.Coefficients) != n || !finite(c.Coefficients) || math.IsNaN(c.Limit) || math.IsInf(c.Limit, 0) || c.Relation < AtMost || c.Relation > Equal {
			return nil, fmt.Errorf("%w: constraint %d: %+v: %d finite coefficients are needed", ErrMalformed, i, c, n)
		}
		if c.Relation != Equal {
			width++
		}
	}
	if width*max(rows, 1) > MostCells {
		return nil, fmt.Errorf("%w: %d constraints of %d variables are too many", ErrMalformed, rows, width)
	}
	return s, nil
}

func standardise(p Programme) (*standard, error) {
	s, err := checked(&p)
	if err != nil {
		return nil, err
	}
	n := s.variables
	constraints, width := p.Constraints, n
	for i, high := range s.high {
		if !math.IsInf(high, 1) {
			row := make([]float64, n)
			row[i] = 1
			constraints = append(constraints[:len(constraints):len(constraints)], Constraint{row, AtMost, high})
		}
	}
	for _, c := range constraints {
		if c.Relation != Equal {
			width++
		}
	}
	s.c = make([]float64, width)
	copy(s.c, p.Cost)
	slack := n
	for _, c := range constraints {
		row := make([]float64, width)
		copy(row, c.Coefficients)
		b := c.Limit
		for i, v := range c.Coefficients {
			b -= v * s.low[i]
		}
		if c.Relation != Equal {
			row[slack] = 1
			if c.Relation == AtLeast {
				row[slack] = -1
			}
			slack++
		}
		s.addRow(row, b)
	}
	return s, nil
}

func finite(v []float64) bool {
	for _, x := range v {
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return false
		}
	}
	return true
}

// addRow scales the row to a largest coefficient of 1 and its side to be positive, as the simplex method likes it.
func (s *standard) addRow(row []float64, b float64) {
	largest := 0.
	for _, v := range row {
		largest = max(largest, math.Abs(v))
	}
	if largest == 0 {
		largest = 1
	}
	if b < 0 {
		largest = -largest
	}
	for i := range row {
		row[i] /= largest
	}
	s.rows, s.b = append(s.rows, row), append(s.b, b/largest)
}

func (s *standard) solve() (y []float64, err error) {
	y = make([]float64, len(s.c))
	if err := s.reduce(); err != nil {
		return nil, err
	}
	used := s.usedColumns()
	for i, c := range s.c {
		if !used[i] && c < 0 { // nothing holds it back
			return nil, s.ifFeasible(used, ErrUnbounded)
		}
	}
	c, a, columns := s.columns(used)
	if len(s.rows) == 0 {
		return y, nil
	}
	solution, err := simplex(c, a, s.b)
	if err != nil {
		return nil, err
	}
	for k, i := range columns {
		y[i] = solution[k]
	}
	return y, nil
}

// ifFeasible returns err if the constraints can be met at all.
func (s *standard) ifFeasible(used []bool, err error) error {
	if len(s.rows) == 0 {
		return err
	}
	c, a, _ := s.columns(used)
	clear(c)
	if _, infeasible := simplex(c, a, s.b); infeasible != nil {
		return infeasible
	}
	return err
}

func (s *standard) usedColumns() []bool {
	used := make([]bool, len(s.c))
	for _, row := range s.rows {
		for i, v := range row {
			used[i] = used[i] || v != 0
		}
	}
	return used
}

func (s *standard) columns(used []bool) (c []float64, a *mat.Dense, columns []int) {
	for i, u := range used {
		if u {
			columns = append(columns, i)
			c = append(c, s.c[i])
		}
	}
	if len(s.rows) == 0 || len(columns) == 0 {
		return c, nil, columns
	}
	a = mat.NewDense(len(s.rows), len(columns), nil)
	for r, row := range s.rows {
		for k, i := range columns {
			a.Set(r, k, row[i])
		}
	}
	return c, a, columns
}

// reduce takes out rows that follow from others, by Gaussian elimination on a copy, and finds those that contradict them.
func (s *standard) reduce() error {
	var kept [][]float64 // eliminated rows with their side last, each with a pivot
	var pivots []int
	var rows [][]float64
	var b []float64
	for r, row := range s.rows {
		rest := append(append([]float64{}, row...), s.b[r])
		for k, other := range kept {
			if f := rest[pivots[k]]; f != 0 {
				for i := range rest {
					rest[i] -= f * other[i]
				}
				rest[pivots[k]] = 0
			}
		}
		pivot, largest := -1, lpTolerance
		for i, v := range rest[:len(rest)-1] {
			if math.Abs(v) > largest {
				pivot, largest = i, math.Abs(v)
			}
		}
		side := rest[len(rest)-1]
		if pivot < 0 {
			if math.Abs(side) > 1e-7*(1+math.Abs(s.b[r])) {
				return fmt.Errorf("constraint %d contradicts others: %w", r, ErrInfeasible)
			}
			continue
		}
		f := rest[pivot]
		for i := range rest {
			rest[i] /= f
		}
		kept, pivots = append(kept, rest), append(pivots, pivot)
		rows, b = append(rows, row), append(b, s.b[r])
	}
	s.rows, s.b = rows, b
	return nil
}

// simplex calls gonum's, whose panics on input that it did not foresee become errors here.
func simplex(c []float64, a *mat.Dense, b []float64) (x []float64, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", ErrNumerical, p)
		}
	}()
	if rows, columns := a.Dims(); rows == columns {
		return square(a, b)
	}
	_, x, err = lp.Simplex(c, a, b, lpTolerance, nil)
	switch {
	case errors.Is(err, lp.ErrInfeasible):
		return nil, ErrInfeasible
	case errors.Is(err, lp.ErrUnbounded):
		return nil, ErrUnbounded
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrNumerical, err)
	case !finite(x):
		return nil, fmt.Errorf("%w: %v", ErrNumerical, x)
	}
	return x, nil
}

// square solves a programme with as many independent constraints as variables: one point, if it is not negative.
func square(a *mat.Dense, b []float64) ([]float64, error) {
	var x mat.VecDense
	if err := x.SolveVec(a, mat.NewVecDense(len(b), b)); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNumerical, err)
	}
	point := x.RawVector().Data
	for i, v := range point {
		if v < -1e-7 {
			return nil, ErrInfeasible
		}
		point[i] = max(v, 0)
	}
	return point, nil
}
