package optimizer

import (
	"encoding/binary"
	"errors"
	"maps"
	"math"
	"slices"
	"time"
)

// proofFormat counts up when what is stored changes its meaning.
const proofFormat = 2

// proofFormerly had no trials apart from the rest, and no sum of routes that are no more. It is still read.
const proofFormerly = 1

// ErrProofFormat says that bytes are no proof that this program knows.
var ErrProofFormat = errors.New("not savings of a known format")

// MarshalBinary implements encoding.BinaryMarshaler: all that was measured, about 6 kB a busy stretch of time. Equal state gives equal bytes.
func (p *Proof) MarshalBinary() ([]byte, error) {
	e := encoder{b: []byte{proofFormat}}
	e.flag(p.gone.Why != "")
	if p.gone.Why != "" {
		e.epoch(&p.gone)
	}
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
		e.classes(&s.sums[side])
	}
	e.flag(s.tried != nil)
	if s.tried != nil {
		e.classes(s.tried)
	}
}

func (e *encoder) classes(sums *[classes]classSums) {
	for class := range sums {
		c := &sums[class]
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
