package simulate

import "time"

// demand is traffic: requests a second, and mean tokens.
type demand struct{ rate, input, output float64 }

// demandEvery is the span of one demand of a trace.
const demandEvery = time.Minute

// demands are those of a trace, which the clairvoyant knows beforehand; nil where the traffic is the same all the time, or the trace cannot be read, which the
// run itself says.
func (w *world) demands() []demand {
	if w.Traffic.Trace == "" {
		return nil
	}
	next, stop, err := w.traced()
	if err != nil {
		return nil
	}
	defer stop()
	all := make([]demand, w.For/demandEvery+1)
	for r, more := next(); more && r.at < w.For; r, more = next() {
		d := &all[r.at/demandEvery]
		d.rate, d.input, d.output = d.rate+1, d.input+float64(r.input), d.output+float64(r.output)
	}
	for i := range all {
		if d := &all[i]; d.rate > 0 {
			d.input, d.output, d.rate = d.input/d.rate, d.output/d.rate, d.rate/demandEvery.Seconds()
		} else {
			d.input, d.output = 1000, 1000 // whatever comes, it is cheaper where tokens are
		}
	}
	return all
}

// demand is the traffic of the moment.
func (c *clairvoyant) demand() demand {
	if t := &c.w.Traffic; t.Trace == "" {
		return demand{t.Rate, mean(t.Input, t.InputSigma), mean(t.Output, t.OutputSigma)}
	}
	if at := int(c.w.now / demandEvery); at < len(c.demands) {
		return c.demands[at]
	}
	return demand{}
}
