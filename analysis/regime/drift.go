package regime

// drift is an exponentially weighted mean that weighs all values alike until there are 1/weight of them.
type drift struct {
	weight float64
	n      int
	mean   float64
}

func (d *drift) add(v float64) {
	d.n++
	d.mean += max(d.weight, 1/float64(d.n)) * (v - d.mean)
}
