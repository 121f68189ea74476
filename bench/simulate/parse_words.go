package simulate

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// words are those of a line. The first mistake stays.
type words struct {
	list []string
	at   int
	err  error
}

func (w *words) fail(got, want string) {
	if w.err != nil {
		return
	}
	if got == "" {
		got = "the end of the line"
	}
	w.err = fmt.Errorf("got %s, want %s", got, want)
}

func (w *words) more() bool { return w.err == nil && w.at < len(w.list) }

func (w *words) one(want string) string {
	if !w.more() {
		w.fail("", want)
		return ""
	}
	w.at++
	return w.list[w.at-1]
}

func (w *words) expect(word string) {
	if got := w.one(word); got != word {
		w.fail(got, word)
	}
}

func (w *words) duration() time.Duration {
	text := w.one("a duration such as 90s or 5m")
	plain := text
	days := 0.
	if d, rest, ok := strings.Cut(text, "d"); ok {
		var err error
		if days, err = strconv.ParseFloat(d, 64); err != nil {
			w.fail(text, "a duration such as 90s, 5m or 2d")
		}
		if plain = rest; rest == "" {
			plain = "0s"
		}
	}
	d, err := time.ParseDuration(plain)
	if err != nil || d < 0 || !(days >= 0 && days <= 10000) {
		w.fail(text, "a duration such as 90s, 5m or 2d")
	}
	return d + time.Duration(days*24*float64(time.Hour))
}

func (w *words) number(low, high float64) float64 {
	text := w.one("a number")
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || !(n >= low && n <= high) {
		w.fail(text, fmt.Sprintf("a number from %g to %g", low, high))
	}
	return n
}

func (w *words) whole(low, high int) int {
	text := w.one("a whole number")
	n, err := strconv.Atoi(text)
	if err != nil || n < low || n > high {
		w.fail(text, fmt.Sprintf("a whole number from %d to %d", low, high))
	}
	return n
}

func (w *words) percent() float64 { return w.marked("", "%", "a percentage such as 2%", 100) / 100 }

func (w *words) dollars() float64 {
	if w.more() {
		w.list[w.at] = strings.TrimPrefix(w.list[w.at], "$")
	}
	return w.marked("", "", "dollars such as $0.50", math.MaxFloat64)
}

func (w *words) times() float64 { return w.marked("x", "", "a factor such as x2", 1e6) }

// marked reads a number from 0 to high between marks.
func (w *words) marked(prefix, suffix, want string, high float64) float64 {
	text := w.one(want)
	bare, begins := strings.CutPrefix(text, prefix)
	bare, ends := strings.CutSuffix(bare, suffix)
	n, err := strconv.ParseFloat(bare, 64)
	if err != nil || !begins || !ends || !(n >= 0 && n <= high) {
		w.fail(text, want)
	}
	return n
}

func (w *words) onOff() bool {
	text := w.one("on or off")
	if text != "on" && text != "off" {
		w.fail(text, "on or off")
	}
	return text == "on"
}

func (w *words) target(s *Scenario) int {
	name := w.one("a target's name")
	var names []string
	for i := range s.Targets {
		if names = append(names, s.Targets[i].Name); s.Targets[i].Name == name {
			return i
		}
	}
	w.fail(name, "a target: "+strings.Join(names, ", "))
	return 0
}
