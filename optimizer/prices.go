package optimizer

// priceSums are those of a regression of what exchanges cost on their input and output tokens, which tells two targets apart even where they were sent exchanges
// of different shapes. Each counts by its relative error, so that the few long ones do not decide all.
type priceSums struct{ ii, io, oo, ic, oc float64 }

func (p *priceSums) add(keep, input, output, cost float64) {
	w := work(input, output)
	i, o, c := input/w, output/w, cost/w
	p.ii, p.io, p.oo, p.ic, p.oc = p.ii*keep+i*i, p.io*keep+i*o, p.oo*keep+o*o, p.ic*keep+i*c, p.oc*keep+o*c
}

// alike is the part of the sums' product that their determinant must be, for two prices to be told apart.
const alike = 1e-3

// of are US dollars per input and per output token, by least squares; zero where the exchanges are too much alike, or no prices explain what they cost.
func (p *priceSums) of() (in, out float64) {
	d := p.ii*p.oo - p.io*p.io
	if !(d > alike*p.ii*p.oo) {
		return 0, 0
	}
	in, out = (p.ic*p.oo-p.oc*p.io)/d, (p.oc*p.ii-p.ic*p.io)/d
	if in < 0 || !(out > 0) {
		return 0, 0
	}
	return in, out
}
