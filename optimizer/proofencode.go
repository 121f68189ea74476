package optimizer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"
)

// proofFormat counts up when what is stored changes its meaning.
const proofFormat = 1

// ErrProofFormat says that bytes are no proof that this program knows.
var ErrProofFormat = errors.New("not savings of a known format")

// MarshalBinary implements encoding.BinaryMarshaler: all that was measured, about 6 kB a busy stretch of time. Equal state gives equal bytes.
func (p *Proof) MarshalBinary() ([]byte, error) {
	e := encoder{b: []byte{proofFormat}}
	e.count(len(p.routes))
	for _, name := range slices.Sorted(maps.Keys(p.routes)) {
		r := p.routes[name]
		e.text(name)
		e.whole(r.single)
		e.count(len(r.epochs))
		for i := range r.epochs {
			e.epoch(&r.epochs[i])
		}
		e.count(len(r.spans))
		for _, s := range r.spans {
			e.span(s)
		}
		e.harm(&r.harm)
	}
	return e.b, nil
}

// UnmarshalBinary implements encoding.BinaryUnmarshaler. After an error the proof is what it was.
func (p *Proof) UnmarshalBinary(b []byte) error {
	d := decoder{b: b}
	if len(b) == 0 || b[0] != proofFormat {
		return ErrProofFormat
	}
	d.b = b[1:]
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
	p.routes = routes
	return nil
}

type encoder struct{ b []byte }

func (e *encoder) whole(n uint64) { e.b = binary.AppendUvarint(e.b, n) }
func (e *encoder) count(n int)    { e.whole(uint64(n)) } //nolint:gosec // lengths
func (e *encoder) text(s string)  { e.count(len(s)); e.b = append(e.b, s...) }
func (e *encoder) real(v float64) { e.b = binary.LittleEndian.AppendUint64(e.b, math.Float64bits(v)) }
func (e *encoder) time(t time.Time) {
	e.b = binary.LittleEndian.AppendUint64(e.b, uint64(t.UnixNano()))
} //nolint:gosec // all bits

func (e *encoder) flag(b bool) {
	if b {
		e.b = append(e.b, 1)
		return
	}
	e.b = append(e.b, 0)
}

func (e *encoder) estimate(v *Estimate) {
	e.flag(v.Known)
	if v.Known {
		e.real(v.Value)
		e.real(v.Low)
		e.real(v.High)
		e.real(v.Error)
	}
}

func (e *encoder) epoch(v *Epoch) {
	e.time(v.From)
	e.time(v.To)
	e.text(v.Why)
	e.whole(v.Treated)
	e.whole(v.Holdback)
	e.estimate(&v.Saved)
	e.estimate(&v.Waited)
}

func (e *encoder) span(s *span) {
	e.time(s.from)
	e.time(s.to)
	e.text(s.decision)
	e.flag(s.mixed)
	for side := range s.sums {
		for class := range s.sums[side] {
			c := &s.sums[side][class]
			e.real(c.squares)
			e.real(c.costSizes)
			for i := range c.groups {
				g := &c.groups[i]
				if e.whole(uint64(g.n)); g.n == 0 {
					continue
				}
				for _, n := range [...]uint32{g.failed, g.violations, g.priced, g.waits} {
					e.whole(uint64(n))
				}
				for _, v := range [...]float64{g.cost, g.size, g.wait, g.logWait} {
					e.real(v)
				}
			}
		}
	}
}

func (e *encoder) harm(h *harmWatch) {
	for _, state := range [...][9]float64{h.failures.State(), h.violations.State()} {
		for _, v := range state {
			e.real(v)
		}
	}
	for side := range h.table {
		n := 0
		for i := range h.table[side] {
			if h.table[side][i].hash != 0 {
				n++
			}
		}
		e.count(n)
		for i := range h.table[side] {
			v := &h.table[side][i]
			if v.hash == 0 {
				continue
			}
			e.count(i)
			e.whole(v.hash)
			e.b = binary.LittleEndian.AppendUint64(e.b, uint64(v.from)) //nolint:gosec // all bits
			e.whole(uint64(v.n))
			e.whole(uint64(v.failures))
			e.whole(uint64(v.violations))
			e.flag(v.told)
		}
	}
}

// decoder reads what encoder wrote. The first mistake stays, and what is read after it is 0.
type decoder struct {
	b   []byte
	err error
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
		for class := range s.sums[side] {
			c := &s.sums[side][class]
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
				return s
			}
		}
	}
	return s
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
