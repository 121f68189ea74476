package provider

const (
	maxCapture = 64 << 10 // of a value reported raw; usage objects have about 500 bytes
	maxIdle    = 16 << 10 // of the buffer kept for the next answer
	maxString  = 96       // of a string reported and of a key looked at
	maxDepth   = 24       // of containers whose places are told apart; below, the place stays the same
)

// walker is an incremental JSON tokenizer that knows at each value where it stands and reports or counts the few that
// matter. It takes bytes split anywhere, keeps at most maxCapture of them, skips strings at the speed of IndexByte,
// and sees no difference between one split and another. It reads documents one after the other and is lenient: on
// input that is no JSON it finds nothing or something, and stays within its bounds.
type walker struct {
	root place
	position

	texts    int      // strings counted in this document
	first    position // of the first of them
	left     int      // bytes behind its opening quote, if it ended in the slice it began in
	inString bool     // p ended inside a string
	escaped  bool     // … behind a backslash
	inValue  bool     // inside a value that is reported raw
	tooLong  bool     // that value is longer than maxCapture
	value    place
	valueAt  int // its depth
	kept     int // bytes of str in use
	str      [maxString]byte
	raw      []byte // the value so far, when it began in an earlier slice

	seen     uint64 // bit i: choice i was seen
	finished uint64 // bit i: it has ended

	output   int64 // bytes of generated text
	thoughts int64 // bytes of reasoning in this document, under either name
	aliases  int64
	content  bool // something generated was seen
	queries  int64
	searches int64
}

// position is where in a document a walker stands, between two values.
type position struct {
	place  place // of the value that comes next
	atKey  bool  // a string that comes next is a key
	depth  int
	stack  [maxDepth]place // of the open containers; the first is the document's own
	array  uint32          // bit d: the container at depth d is an array
	index  uint            // of the choice being read
	finish bool            // that choice ended
}

// reset makes w ready for another answer; begin for another document of the same one.
func (w *walker) reset(root place) {
	raw := w.raw[:0]
	if cap(raw) > maxIdle {
		raw = nil
	}
	*w = walker{root: root, raw: raw}
	w.begin()
}

// begin forgets what is open: the next byte starts a document.
func (w *walker) begin() {
	w.commit()
	w.position = position{place: w.root}
	w.stack[0] = w.root
	w.texts, w.left = 0, 0
	w.inString, w.inValue, w.tooLong = false, false, false
	w.raw = w.raw[:0]
}

// commit ends what is counted per document.
func (w *walker) commit() {
	w.output += max(w.thoughts, w.aliases)
	w.searches = max(w.searches, w.queries) // a stream repeats them
	w.thoughts, w.aliases, w.queries = 0, 0, 0
}

// token marks the bytes that matter outside of strings.
var token = [256]bool{'"': true, '{': true, '}': true, '[': true, ']': true, ',': true, ':': true}

// next reads from p up to the first value to report and returns its place, its bytes (of a string what stands between
// the quotes, of other values the raw JSON, nil if it is too long), which are valid until the next call, and the bytes
// behind it. When p holds none, found is nowhere and all of p was read.
func (w *walker) next(p []byte) (found place, value, rest []byte) {
	i := 0
	if w.inString {
		var s []byte
		if s, i = w.resumeString(p); w.inString {
			w.keep(p)
			return nowhere, nil, nil
		}
		if w.endString(s) {
			return w.place, s, p[i:]
		}
	}
	from := 0 // the bytes of a value to report begin here in p
	for i < len(p) {
		c := p[i]
		i++
		if !token[c] {
			continue
		}
		switch c {
		case '"':
			end := closingQuote(p, i)
			if end < 0 {
				w.startString(p[i:])
				w.keep(p[from:])
				return nowhere, nil, nil
			}
			s := p[i:end]
			i = end + 1
			if w.atKey || w.place != nowhere {
				if !w.atKey && w.place < firstString {
					if w.texts == 0 {
						w.first, w.left = w.position, len(p)-end+len(s)
					}
					w.countString(len(s))
				}
				if w.endString(s) {
					return w.place, s, p[i:]
				}
			}
		case ':':
			w.atKey = false
			if w.place >= firstValue && !w.inValue {
				w.inValue, w.value, w.valueAt, from = true, w.place, w.depth, i
			}
		case '{', '[':
			w.push(c == '[')
		default:
			found = nowhere
			if w.inValue && w.depth == w.valueAt {
				found, value = w.endValue(p[from : i-1])
			}
			if c == ',' {
				w.comma()
			} else {
				w.pop()
			}
			if found != nowhere {
				return found, value, p[i:]
			}
		}
	}
	w.keep(p[from:])
	return nowhere, nil, nil
}

// top is the place of the innermost container.
func (w *walker) top() place { return w.stack[min(w.depth, maxDepth-1)] }

// inObject reports whether the innermost container is an object that keys are read of.
func (w *walker) inObject() bool { return w.depth < maxDepth && w.array&(1<<w.depth) == 0 }

func (w *walker) push(array bool) {
	if w.place >= firstString {
		w.place = nowhere
	}
	w.depth++
	if w.depth < maxDepth {
		w.stack[w.depth] = w.place
		w.array &^= 1 << w.depth
		if array {
			w.array |= 1 << w.depth
		}
	}
	w.atKey = w.inObject()
}

func (w *walker) comma() {
	w.atKey, w.place = w.inObject(), w.top()
}

func (w *walker) pop() {
	if w.depth == 0 {
		return
	}
	at, object := w.top(), w.inObject()
	w.depth--
	w.atKey, w.place = false, w.top()
	switch {
	case !object:
	case at == w.root:
		w.commit()
	case at.isChoice():
		bit := uint64(1) << w.index
		w.seen |= bit
		if w.finish {
			w.finished |= bit
		}
		w.index, w.finish = 0, false
	}
}

// ended reports whether every choice that was seen has ended.
func (w *walker) ended() bool { return w.finished != 0 && w.seen&^w.finished == 0 }

// keep keeps the end of the slice as part of the value to report, if there is one.
func (w *walker) keep(b []byte) {
	if !w.inValue {
		return
	}
	if w.tooLong = w.tooLong || len(w.raw)+len(b) > maxCapture; w.tooLong {
		w.raw = w.raw[:0]
		return
	}
	w.raw = append(w.raw, b...)
}

// endValue ends the value to report with b and returns its place, nowhere if the caller need not know, and all of it,
// nil if it is too long.
func (w *walker) endValue(b []byte) (place, []byte) {
	if len(w.raw) > 0 || w.tooLong {
		w.keep(b)
		b = w.raw
	}
	long := w.tooLong || len(b) > maxCapture
	w.inValue, w.tooLong, w.raw = false, false, w.raw[:0]
	if long {
		return w.value, nil
	}
	b = b[skipSpace(b, 0):]
	for len(b) > 0 && b[len(b)-1] <= ' ' {
		b = b[:len(b)-1]
	}
	if w.value == indexValue {
		n, _ := countOf(b)
		w.index = uint(min(n, 63))
		return nowhere, nil
	}
	if isNull(b) {
		return nowhere, nil
	}
	return w.value, b
}
