package optimizer

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"
)

// UnmarshalBinary implements encoding.BinaryUnmarshaler. After an error the proof is what it was.
func (p *Proof) UnmarshalBinary(b []byte) error {
	d := decoder{b: b}
	if len(b) == 0 || b[0] != proofFormat && b[0] != proofFormerly {
		return ErrProofFormat
	}
	d.b, d.formerly = b[1:], b[0] == proofFormerly
	gone := Epoch{}
	if !d.formerly && d.flag() {
		if gone = d.epoch(); gone.Why == "" {
			d.fail("an epoch without its reason")
		}
	}
	routes := map[string]*routeProof{}
	last := ""
	for i := range d.count(proofRoutes) {
		name := d.text()
		if i > 0 && name <= last {
			d.fail("routes out of order")
		}
		last = name
		r := &routeProof{single: d.whole()}
		for range d.count(mostEpochs) {
			r.epochs = append(r.epochs, d.epoch())
		}
		for range d.count(mostSpans) {
			r.spans = append(r.spans, d.span())
		}
		d.harm(&r.harm)
		if d.err != nil {
			return d.err
		}
		routes[name] = r
	}
	if len(d.b) > 0 {
		d.fail("bytes left over")
	}
	if d.err != nil {
		return d.err
	}
	p.routes, p.gone, p.beyond = routes, gone, map[string]struct{}{}
	return nil
}

// decoder reads what encoder wrote. The first mistake stays, and what is read after it is 0.
type decoder struct {
	b        []byte
	err      error
	formerly bool // of the format before
}

func (d *decoder) fail(what string) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: %s", ErrProofFormat, what)
	}
	d.b = nil
}

func (d *decoder) whole() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 || n > 1 && d.b[n-1] == 0 { // numbers have one form
		d.fail("cut short")
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) small() uint32 {
	v := d.whole()
	if v > math.MaxUint32 {
		d.fail("a count is too large")
		return 0
	}
	return uint32(v)
}

func (d *decoder) count(most int) int {
	n := d.whole()
	if n > uint64(most) { //nolint:gosec // a constant
		d.fail("more than there may be")
		return 0
	}
	return int(n) //nolint:gosec // was checked
}

func (d *decoder) text() string {
	n := d.count(len(d.b))
	if n > len(d.b) { // its length took room too
		d.fail("cut short")
		return ""
	}
	s := string(d.b[:n])
	d.b = d.b[n:]
	return s
}

func (d *decoder) bits() uint64 {
	if len(d.b) < 8 {
		d.fail("cut short")
		return 0
	}
	v := binary.LittleEndian.Uint64(d.b)
	d.b = d.b[8:]
	return v
}

func (d *decoder) real() float64 {
	v := math.Float64frombits(d.bits())
	if !finite(v) {
		d.fail("a number is not finite")
		return 0
	}
	return v
}

func (d *decoder) time() time.Time { return time.Unix(0, int64(d.bits())).UTC() } //nolint:gosec // all bits

func (d *decoder) flag() bool {
	if len(d.b) == 0 || d.b[0] > 1 {
		d.fail("no flag")
		return false
	}
	on := d.b[0] == 1
	d.b = d.b[1:]
	return on
}

func (d *decoder) estimate() (e Estimate) {
	if e.Known = d.flag(); e.Known {
		e.Value, e.Low, e.High, e.Error = d.real(), d.real(), d.real(), d.real()
	}
	return e
}

func (d *decoder) epoch() Epoch {
	return Epoch{d.time(), d.time(), d.text(), d.whole(), d.whole(), d.estimate(), d.estimate()}
}

func (d *decoder) span() *span {
	s := &span{from: d.time(), to: d.time(), decision: d.text(), mixed: d.flag()}
	for side := range s.sums {
		d.classes(&s.sums[side])
	}
	if !d.formerly && d.flag() {
		s.tried = &[classes]classSums{}
		d.classes(s.tried)
	}
	return s
}

func (d *decoder) classes(sums *[classes]classSums) {
	for class := range sums {
		c := &sums[class]
		c.squares, c.costSizes = d.real(), d.real()
		for i := range c.groups {
			g := &c.groups[i]
			if g.n = d.small(); g.n == 0 {
				continue
			}
			g.failed, g.violations, g.priced, g.waits = d.small(), d.small(), d.small(), d.small()
			g.cost, g.size, g.wait, g.logWait = d.real(), d.real(), d.real(), d.real()
			if max(g.failed, g.violations, g.priced, g.waits) > g.n {
				d.fail("more of a kind than there are")
			}
		}
		if d.err != nil {
			return
		}
	}
}

func (d *decoder) harm(h *harmWatch) {
	for _, to := range [...]interface{ Restore([9]float64) bool }{&h.failures, &h.violations} {
		var state [9]float64
		for i := range state {
			state[i] = d.real()
		}
		if !to.Restore(state) {
			d.fail("no state of an e-process")
		}
	}
	for side := range h.table {
		last := -1
		for range d.count(visitPlaces) {
			if h.table[side] == nil {
				h.table[side] = make([]visit, visitPlaces)
			}
			i := d.count(visitPlaces - 1)
			v := visit{hash: d.whole(), from: int64(d.bits()), n: d.small(), failures: d.small(), violations: d.small(), told: d.flag()} //nolint:gosec // all bits
			if i <= last || v.hash == 0 || max(v.failures, v.violations) > v.n {
				d.fail("no session's state")
			}
			if d.err != nil {
				return
			}
			last = i
			h.table[side][i] = v
		}
	}
}
