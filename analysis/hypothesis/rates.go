package hypothesis

import (
	"math"

	"gonum.org/v1/gonum/stat/distuv"
)

// sparse is the expected count below which the G-test is not trusted (Cochran, "Some methods for strengthening the common
// chi-squared tests", Biometrics 1954).
const sparse = 5

// Rates compares bad out of n trials of two groups: the G-test with Williams' correction (Williams, "Improved likelihood ratio
// tests for complete contingency tables", Biometrika 1976), or Fisher's exact test where an expected count is below five. The
// effect is the difference of the rates with Newcombe's interval. False unless 0 <= bad <= n and n > 0 in both. inflation says how
// many trials are worth one independent trial; it is 1 for requests that know nothing of each other.
func Rates(bad1, n1, bad2, n2, inflation float64) (Result, bool) {
	if !(n1 > 0 && n2 > 0 && bad1 >= 0 && bad2 >= 0 && bad1 <= n1 && bad2 <= n2) || math.IsInf(n1+n2, 0) {
		return Result{}, false
	}
	w := max(inflation, 1)
	a, b := [2]float64{bad1 / w, (n1 - bad1) / w}, [2]float64{bad2 / w, (n2 - bad2) / w}
	r := unknown("G-test", n1, n2)
	r.Level, r.Effect, r.DF = bad1/n1, bad2/n2-bad1/n1, 1
	r.Low, r.High = newcombe(a, b)
	least := min(a[0]+b[0], a[1]+b[1]) * min(a[0]+a[1], b[0]+b[1]) / (a[0] + a[1] + b[0] + b[1])
	if least < sparse {
		r.Method, r.DF = "Fisher's exact test", 0
		r.P = fisher(math.Round(a[0]), math.Round(a[0]+a[1]), math.Round(b[0]), math.Round(b[0]+b[1]))
		r.Statistic = r.P
		return r, true
	}
	r.Statistic = gStatistic([][]float64{a[:], b[:]}) / williams(a, b)
	r.P = distuv.ChiSquared{K: 1}.Survival(r.Statistic)
	return r, true
}

// gStatistic is twice the log-likelihood ratio of a table against independence.
func gStatistic(table [][]float64) (g float64) {
	rows, columns, total := margins(table)
	for i, row := range table {
		for j, seen := range row {
			if seen > 0 {
				g += 2 * seen * math.Log(seen*total/(rows[i]*columns[j]))
			}
		}
	}
	return max(g, 0)
}

func williams(a, b [2]float64) float64 {
	na, nb := a[0]+a[1], b[0]+b[1]
	bad, good := a[0]+b[0], a[1]+b[1]
	n := na + nb
	return 1 + (n/na+n/nb-1)*(n/bad+n/good-1)/(6*n)
}

// newcombe is method 10 of Newcombe, "Interval estimation for the difference between independent proportions", Statistics in
// Medicine 1998, at 95 %.
func newcombe(a, b [2]float64) (low, high float64) {
	p1, l1, u1 := wilson(a)
	p2, l2, u2 := wilson(b)
	return p2 - p1 - math.Hypot(p2-l2, u1-p1), p2 - p1 + math.Hypot(u2-p2, p1-l1)
}

const z95 = 1.959963984540054

func wilson(c [2]float64) (p, low, high float64) {
	n := c[0] + c[1]
	p = c[0] / n
	middle := p + z95*z95/(2*n)
	reach := z95 * math.Sqrt(p*(1-p)/n+z95*z95/(4*n*n))
	return p, (middle - reach) / (1 + z95*z95/n), (middle + reach) / (1 + z95*z95/n)
}

// fisher is the two-sided exact p-value: the probability of all tables with these margins that are no likelier than this one.
func fisher(bad1, n1, bad2, n2 float64) float64 {
	bad := bad1 + bad2
	log := func(k float64) float64 { return choose(n1, k) + choose(n2, bad-k) - choose(n1+n2, bad) }
	seen := log(bad1)
	p := 0.
	for k := max(0, bad-n2); k <= min(bad, n1); k++ {
		if l := log(k); l <= seen+1e-7 { // R's fisher.test allows for rounding likewise
			p += math.Exp(l)
		}
	}
	return min(p, 1)
}

func choose(n, k float64) float64 {
	a, _ := math.Lgamma(n + 1)
	b, _ := math.Lgamma(k + 1)
	c, _ := math.Lgamma(n - k + 1)
	return a - b - c
}

// ChiSquared is Pearson's test of independence of rows and columns. The effect is Cramér's V in [0, 1]. False for a table with
// fewer than two rows or columns, rows of different lengths, a negative count, or an empty row or column. O(cells).
func ChiSquared(table [][]float64) (Result, bool) {
	if len(table) < 2 || len(table[0]) < 2 || !proper(table) {
		return Result{}, false
	}
	rows, columns, total := margins(table)
	r := unknown("chi-squared", total, total)
	for i, row := range table {
		for j, seen := range row {
			want := rows[i] * columns[j] / total
			r.Statistic += (seen - want) * (seen - want) / want
		}
	}
	r.DF = float64((len(rows) - 1) * (len(columns) - 1))
	r.P = distuv.ChiSquared{K: r.DF}.Survival(r.Statistic)
	r.Kind = Distance
	r.Effect = math.Sqrt(r.Statistic / (total * float64(min(len(rows), len(columns))-1)))
	return r, true
}

// GoodnessOfFit is Pearson's test of counts against expected ones, which are scaled to the same total. The effect is Cohen's w.
// False for fewer than two cells, different lengths, a negative count, or an expected one that is not positive. O(cells).
func GoodnessOfFit(counts, expected []float64) (Result, bool) {
	if len(counts) < 2 || len(counts) != len(expected) {
		return Result{}, false
	}
	var n, want float64
	for i := range counts {
		if !(counts[i] >= 0 && expected[i] > 0) || math.IsInf(counts[i]+expected[i], 0) {
			return Result{}, false
		}
		n, want = n+counts[i], want+expected[i]
	}
	if n == 0 {
		return Result{}, false
	}
	r := unknown("chi-squared fit", n, n)
	for i := range counts {
		e := expected[i] * n / want
		r.Statistic += (counts[i] - e) * (counts[i] - e) / e
	}
	r.DF, r.Kind, r.Effect = float64(len(counts)-1), Distance, math.Sqrt(r.Statistic/n)
	r.P = distuv.ChiSquared{K: r.DF}.Survival(r.Statistic)
	return r, true
}

func margins(table [][]float64) (rows, columns []float64, total float64) {
	rows, columns = make([]float64, len(table)), make([]float64, len(table[0]))
	for i, row := range table {
		for j, n := range row {
			rows[i] += n
			columns[j] += n
			total += n
		}
	}
	return rows, columns, total
}

func proper(table [][]float64) bool {
	for _, row := range table {
		if len(row) != len(table[0]) {
			return false
		}
		for _, n := range row {
			if !(n >= 0) || math.IsInf(n, 0) {
				return false
			}
		}
	}
	rows, columns, _ := margins(table)
	for _, n := range append(rows, columns...) {
		if n == 0 {
			return false
		}
	}
	return true
}
