package provider

// startString begins a string that does not end in the slice it begins in; s is what there is of its text.
func (w *walker) startString(s []byte) {
	w.inString, w.escaped, w.kept = true, false, 0
	if !w.atKey {
		w.countString(0)
	}
	w.partString(s)
}

// resumeString reads on in a string that began in an earlier slice. If it ends in p, s is its text cut to maxString
// and i the index behind its quote.
func (w *walker) resumeString(p []byte) (s []byte, i int) {
	skip := 0
	if w.escaped {
		skip = min(1, len(p)) // the byte behind the backslash
	}
	end := closingQuote(p, skip)
	if end < 0 {
		w.partString(p)
		return nil, len(p)
	}
	w.partString(p[:end])
	w.inString = false
	return w.str[:w.kept], end + 1
}

// partString takes s, which holds no closing quote, as the text of the string so far.
func (w *walker) partString(s []byte) {
	if len(s) == 0 {
		return
	}
	if !w.atKey {
		w.count(len(s))
	}
	w.kept += copy(w.str[w.kept:], s)
	back := len(s)
	for back > 0 && s[back-1] == '\\' {
		back--
	}
	run := len(s) - back
	if back == 0 && w.escaped {
		run++ // the backslash before s belongs to the run
	}
	w.escaped = run&1 != 0
}

// countString begins a string of n bytes or more that stands at w.place.
func (w *walker) countString(n int) {
	switch w.place {
	case generated, thought, thoughtAs:
		w.texts++
	case search:
		w.texts++
		w.queries++
	}
	w.count(n)
}

// count counts n bytes of a string that stands at w.place.
func (w *walker) count(n int) {
	switch w.place {
	case generated:
		w.output += int64(n)
	case thought:
		w.thoughts += int64(n)
	case thoughtAs:
		w.aliases += int64(n)
	case blob:
	default:
		return
	}
	w.content = w.content || n > 0
}

// endString ends the key or the string s and tells whether it is one to report.
func (w *walker) endString(s []byte) bool {
	if w.atKey {
		if at := w.top(); at != nowhere {
			w.place = at.member(s)
		}
		return false
	}
	switch {
	case w.place == finishString:
		w.finish = len(s) > 0
	case w.place >= firstString && w.place < firstValue:
		return true
	}
	return false
}
