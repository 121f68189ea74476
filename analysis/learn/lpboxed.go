package learn

import (
	"fmt"
	"math"
)

// boxed is the simplex method with upper bounds (Dantzig 1955; Chvátal, "Linear Programming", 1983, chapter 8) on a dense table: bounds take no rows. A
// variable that is at its upper bound, or that leaves the basis there, is counted down from it. Rows are the basic variables, of values side, in terms of the
// others, which are 0.
type boxed struct {
	width int       // columns: variables, slacks, artificial variables
	rows  int       //
	table []float64 // rows × width
	side  []float64
	basis []int     // column of each row
	cost  []float64 // reduced
	most  []float64 // of each column, which is at least 0
	down  []bool    // counted down from there
	basic []bool
}

const (
	pivotTolerance = 1e-9 // of coefficients, which are at most 1 to begin with
	costTolerance  = 1e-10
	// surelyMissed is how far from all constraints being met it must end for there to be no point; nearer it is not known.
	surelyMissed  = 1e-6
	mostPivots    = 50 // per row and column
	patientPivots = 5  // of these, by the largest gain; then by Bland's rule, which can't go round in circles
)

// minimiseBoxed returns x, each relative to its lower bound. The error wraps ErrInfeasible, ErrUnbounded, or ErrNumerical where it can't tell.
func minimiseBoxed(p *Programme, low, high []float64) (x []float64, err error) {
	b := newBoxed(p, low, high)
	n := len(p.Cost)
	artificial := n + len(p.Constraints)
	for r, c := range b.basis { // first the artificial variables have to become 0
		if c >= artificial {
			for j, v := range b.row(r) {
				if j < artificial {
					b.cost[j] -= v
				}
			}
		}
	}
	if err := b.descend(artificial); err != nil {
		return nil, err
	}
	missed := 0.
	for r, c := range b.basis {
		if c >= artificial {
			missed += b.side[r]
		}
	}
	switch {
	case missed > surelyMissed:
		return nil, ErrInfeasible
	case missed > lpTolerance:
		return nil, fmt.Errorf("%w: constraints are missed by %v", ErrNumerical, missed)
	}
	for j := artificial; j < b.width; j++ {
		b.most[j] = 0
	}
	b.price(p.Cost)
	if err := b.descend(artificial); err != nil {
		return nil, err
	}
	x = make([]float64, n)
	for r, c := range b.basis {
		if c < n {
			x[c] = b.side[r]
		}
	}
	for j := range x {
		if b.down[j] {
			x[j] = b.most[j] - x[j]
		}
		x[j] = min(max(x[j], 0), b.most[j])
	}
	return x, nil
}

// newBoxed begins with the slacks in the basis, and an artificial variable where that is not possible.
func newBoxed(p *Programme, low, high []float64) *boxed {
	n, m := len(p.Cost), len(p.Constraints)
	width := n + 2*m
	floats := make([]float64, m*width+m+2*width)
	b := &boxed{width: width, rows: m, basis: make([]int, m), down: make([]bool, width), basic: make([]bool, width)}
	b.table, floats = floats[:m*width], floats[m*width:]
	b.side, floats = floats[:m], floats[m:]
	b.cost, b.most = floats[:width], floats[width:]
	for j := range b.most {
		if b.most[j] = math.Inf(1); j < n {
			b.most[j] = high[j] - low[j]
		}
	}
	for r := range p.Constraints {
		c := &p.Constraints[r]
		row := b.row(r)
		side, largest := c.Limit, 0.
		for j, v := range c.Coefficients {
			side -= v * low[j]
			largest = max(largest, math.Abs(v))
		}
		if largest == 0 {
			largest = 1
		}
		if side < 0 {
			largest = -largest
		}
		for j, v := range c.Coefficients {
			row[j] = v / largest
		}
		b.side[r] = side / largest
		slack := 0.
		switch c.Relation {
		case AtMost:
			slack = 1
		case AtLeast:
			slack = -1
		case Equal:
			b.most[n+r] = 0
		}
		if largest < 0 {
			slack = -slack
		}
		row[n+r] = slack
		b.basis[r] = n + r
		if slack <= 0 {
			b.basis[r], row[n+m+r] = n+m+r, 1
		}
		b.basic[b.basis[r]] = true
	}
	return b
}

func (b *boxed) row(r int) []float64 { return b.table[r*b.width : (r+1)*b.width] }

// price makes reduced costs of costs, which are scaled so that the largest is 1.
func (b *boxed) price(cost []float64) {
	clear(b.cost)
	largest := 0.
	for _, c := range cost {
		largest = max(largest, math.Abs(c))
	}
	if largest == 0 {
		return
	}
	signed := func(j int) float64 {
		switch {
		case j >= len(cost):
			return 0
		case b.down[j]:
			return -cost[j] / largest
		}
		return cost[j] / largest
	}
	for j := range cost {
		b.cost[j] = signed(j)
	}
	for r, c := range b.basis {
		if f := signed(c); f != 0 {
			for j, v := range b.row(r) {
				b.cost[j] -= f * v
			}
		}
		b.cost[c] = 0
	}
}

// descend goes from corner to corner until none of the first columns makes it cheaper.
func (b *boxed) descend(columns int) error {
	limit := b.rows + b.width
	for i := range mostPivots * limit {
		enter := b.entering(columns, i > patientPivots*limit)
		if enter < 0 {
			return nil
		}
		leave, step := b.leaving(enter)
		switch {
		case math.IsInf(step, 1):
			return ErrUnbounded
		case math.IsNaN(step):
			return fmt.Errorf("%w: a step of no length", ErrNumerical)
		case leave < 0:
			b.flip(enter)
		default:
			b.pivot(leave, enter)
		}
	}
	return fmt.Errorf("%w: no end", ErrNumerical)
}

func (b *boxed) entering(columns int, bland bool) int {
	best, at := -costTolerance, -1
	for j, c := range b.cost[:columns] {
		if c < best && !b.basic[j] && b.most[j] > 0 {
			if best, at = c, j; bland {
				break
			}
		}
	}
	return at
}

// leaving is the row whose variable first meets a bound while the column rises; -1: the column meets its own first. Of rows that meet theirs at once it takes
// the one with the lowest column (Bland).
func (b *boxed) leaving(enter int) (row int, step float64) {
	row, step = -1, b.most[enter]
	for r := range b.rows {
		v := b.table[r*b.width+enter]
		var far float64
		switch {
		case v > pivotTolerance:
			far = max(b.side[r], 0) / v
		case v < -pivotTolerance:
			far = max(b.most[b.basis[r]]-b.side[r], 0) / -v
		default:
			continue
		}
		if far < step || far == step && row >= 0 && b.basis[r] < b.basis[row] {
			row, step = r, far
		}
	}
	return row, step
}

// flip counts a column that is not in the basis from its other end.
func (b *boxed) flip(column int) {
	for r := range b.rows {
		v := &b.table[r*b.width+column]
		b.side[r] -= *v * b.most[column]
		*v = -*v
	}
	b.cost[column] = -b.cost[column]
	b.down[column] = !b.down[column]
}

// pivot brings a column into the basis in place of a row's.
func (b *boxed) pivot(leave, enter int) {
	row, out := b.row(leave), b.basis[leave]
	if row[enter] < 0 { // it leaves at its upper bound
		for j := range row {
			row[j] = -row[j]
		}
		row[out] = 1
		b.side[leave] = b.most[out] - b.side[leave]
		b.down[out] = !b.down[out]
	}
	f := 1 / row[enter]
	for j := range row {
		row[j] *= f
	}
	row[enter] = 1
	b.side[leave] = max(b.side[leave]*f, 0)
	for r := range b.rows {
		other := b.row(r)
		if g := other[enter]; r != leave && g != 0 {
			for j, v := range row {
				other[j] -= g * v
			}
			other[enter] = 0
			b.side[r] -= g * b.side[leave]
		}
	}
	if g := b.cost[enter]; g != 0 {
		for j, v := range row {
			b.cost[j] -= g * v
		}
		b.cost[enter] = 0
	}
	b.basis[leave], b.basic[out], b.basic[enter] = enter, false, true
}
