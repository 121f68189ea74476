package provider

import "bytes"

const (
	maxRepeat = 1 << 10 // bytes of a head and of a tail; those of real frames have 50 to 300
	maxMisses = 16      // after this many frames in a row that do not repeat, a stream is not worth the comparison
)

// repeat remembers the frame before. Frames of a stream mostly differ in one string, the text, and what reading the
// rest of them again would do has been done. So a frame that begins with the head of the frame before is read from
// its text on, and one that also ends with its tail is not read at all. This is exact: reading is deterministic, and
// what heads and tails report may be reported once or twice alike.
type repeat struct {
	head   []byte // up to and including the opening quote of the first string that counts
	tail   []byte // from its closing quote on; empty if something there counts
	behind position
	misses int
}

func (r *repeat) reset() { *r = repeat{head: r.head[:0], tail: r.tail[:0]} }

// frame reads data, the whole JSON of an event.
func (m *Meter) frame(data []byte) {
	r, w := &m.memory, &m.walk
	if r.misses >= maxMisses {
		m.document(data)
		m.endDocument()
		return
	}
	if len(r.head) > 0 && bytes.HasPrefix(data, r.head) {
		if end := closingQuote(data, len(r.head)); end >= 0 {
			w.position = r.behind
			w.countString(end - len(r.head))
			if tail := data[end:]; !bytes.Equal(tail, r.tail) {
				m.document(tail[1:])
				r.setTail(w.texts, tail)
			}
			r.misses = 0
			m.endDocument()
			return
		}
	}
	r.misses++
	r.head = r.head[:0]
	m.document(data)
	if head := len(data) - w.left; w.texts > 0 && head <= maxRepeat && m.code == "" {
		if end := closingQuote(data, head); end >= 0 {
			r.head = append(r.head, data[:head]...)
			r.behind = w.first
			r.setTail(w.texts, data[end:])
		}
	}
	m.endDocument()
}

// setTail remembers the tail of a frame in which texts strings counted.
func (r *repeat) setTail(texts int, tail []byte) {
	r.tail = r.tail[:0]
	if texts == 1 && len(tail) <= maxRepeat {
		r.tail = append(r.tail, tail...)
	}
}
