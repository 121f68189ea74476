package sim

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Directives steer answers: how long they take, how long they are, what goes wrong. The zero value says nothing.
// They are made by [ParseDirectives]; the package documentation lists them.
type Directives struct {
	ttft, perToken, tokens dist

	chunk     int // tokens per frame
	batch     int // frames per write
	reasoning setting
	input     setting
	cached    setting
	audio     setting // audio tokens in the output
	calls     setting
	seed      setting

	faulted    bool // faults and status were said, maybe "none"
	faults     fault
	status     int
	after      setting       // frames, or bytes of a plain body, before a fault in the middle
	stall      time.Duration // of a stall; 0: until the client leaves
	interval   setting       // nanoseconds between two bytes of a drip
	idle       time.Duration // before an idle-close
	size       setting       // bytes of a huge answer, a big header, a file
	retryAfter time.Duration
	change     time.Duration // for which a prompt's answer stays; 0: for ever

	ids  byte // 's' stable, 'u' unique, 0 not said
	echo bool
}

// setting is a number that may have been left out.
type setting struct {
	set bool
	n   int
}

// or returns the number, or n when it was left out.
func (o setting) or(n int) int {
	if o.set {
		return o.n
	}
	return n
}

// ParseDirectives reads "key=value,key=value". Unknown keys and values are refused.
func ParseDirectives(s string) (Directives, error) {
	var d Directives
	err := d.parse(s)
	return d, err
}

// MustDirectives is ParseDirectives for constants: it panics on a mistake.
func MustDirectives(s string) Directives {
	d, err := ParseDirectives(s)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return d
}

func (d *Directives) parse(s string) error {
	for item := range strings.SplitSeq(s, ",") {
		item = strings.TrimSpace(item)
		if item == "" {
			continue
		}
		key, value, _ := strings.Cut(item, "=")
		if err := d.set(key, value); err != nil {
			return fmt.Errorf("directive %s=%s: %w", key, value, err)
		}
	}
	return nil
}

// setters has an entry for every directive.
var setters = map[string]func(d *Directives, v string) error{
	"ttft":      func(d *Directives, v string) (err error) { d.ttft, err = parseDist(v, duration); return },
	"tpot":      func(d *Directives, v string) (err error) { d.perToken, err = parseDist(v, duration); return },
	"tokens":    func(d *Directives, v string) (err error) { d.tokens, err = parseDist(v, number); return },
	"chunk":     func(d *Directives, v string) (err error) { d.chunk, err = positive(v); return },
	"batch":     func(d *Directives, v string) (err error) { d.batch, err = positive(v); return },
	"reasoning": func(d *Directives, v string) error { return d.reasoning.parse(v) },
	"input":     func(d *Directives, v string) error { return d.input.parse(v) },
	"cached":    func(d *Directives, v string) error { return d.cached.parse(v) },
	"audio":     func(d *Directives, v string) error { return d.audio.parse(v) },
	"calls":     func(d *Directives, v string) error { return d.calls.parse(v) },
	"seed":      func(d *Directives, v string) error { return d.seed.parse(v) },
	"fault": func(d *Directives, v string) (err error) {
		d.faults, d.status, err = parseFaults(v)
		d.faulted = true
		return err
	},
	"after":    func(d *Directives, v string) error { return d.after.parse(v) },
	"stall":    func(d *Directives, v string) (err error) { d.stall, err = span(v); return },
	"interval": func(d *Directives, v string) error { t, err := span(v); d.interval = setting{true, int(t)}; return err },
	"idle":     func(d *Directives, v string) (err error) { d.idle, err = span(v); return },
	"size":     func(d *Directives, v string) error { return d.size.parse(v) },
	"retry-after": func(d *Directives, v string) (err error) {
		d.retryAfter, err = span(v)
		return err
	},
	"change": func(d *Directives, v string) (err error) { d.change, err = span(v); return },
	"ids": func(d *Directives, v string) error {
		if v != "stable" && v != "unique" {
			return fmt.Errorf("want stable or unique")
		}
		d.ids = v[0]
		return nil
	},
	"echo": func(d *Directives, v string) (err error) { d.echo, err = strconv.ParseBool(v); return },
}

// DirectiveNames returns the keys of all directives, sorted.
func DirectiveNames() []string {
	names := make([]string, 0, len(setters))
	for name := range setters {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (d *Directives) set(key, value string) error {
	set, ok := setters[key]
	if !ok {
		return fmt.Errorf("unknown directive")
	}
	return set(d, value)
}

func (o *setting) parse(s string) error {
	n, err := strconv.ParseUint(s, 10, 31)
	if err != nil {
		return err
	}
	*o = setting{true, int(n)}
	return nil
}

func positive(s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 31)
	if err == nil && n == 0 {
		err = fmt.Errorf("want at least 1")
	}
	return int(n), err
}

func span(s string) (time.Duration, error) {
	d, err := duration(s)
	return time.Duration(d), err
}

// overlay lets everything that over says go before what d says.
func (d *Directives) overlay(over *Directives) {
	pick(&d.ttft, over.ttft, over.ttft.set)
	pick(&d.perToken, over.perToken, over.perToken.set)
	pick(&d.tokens, over.tokens, over.tokens.set)
	pick(&d.chunk, over.chunk, over.chunk != 0)
	pick(&d.batch, over.batch, over.batch != 0)
	pick(&d.reasoning, over.reasoning, over.reasoning.set)
	pick(&d.input, over.input, over.input.set)
	pick(&d.cached, over.cached, over.cached.set)
	pick(&d.audio, over.audio, over.audio.set)
	pick(&d.calls, over.calls, over.calls.set)
	pick(&d.seed, over.seed, over.seed.set)
	pick(&d.faults, over.faults, over.faulted)
	pick(&d.status, over.status, over.faulted)
	d.faulted = d.faulted || over.faulted
	pick(&d.after, over.after, over.after.set)
	pick(&d.stall, over.stall, over.stall != 0)
	pick(&d.interval, over.interval, over.interval.set)
	pick(&d.idle, over.idle, over.idle != 0)
	pick(&d.size, over.size, over.size.set)
	pick(&d.retryAfter, over.retryAfter, over.retryAfter != 0)
	pick(&d.change, over.change, over.change != 0)
	pick(&d.ids, over.ids, over.ids != 0)
	d.echo = d.echo || over.echo
}

func pick[T any](dst *T, v T, said bool) {
	if said {
		*dst = v
	}
}

// splitModel parts a model's name from the directives behind it: "gpt-5@sim:ttft=1s" or plain "sim:ttft=1s".
func splitModel(name string) (model, directives string) {
	if rest, ok := strings.CutPrefix(name, "sim:"); ok {
		return "sim", rest
	}
	if model, directives, ok := strings.Cut(name, "@sim:"); ok {
		return model, directives
	}
	return name, ""
}

// headerDirectives reads x-sim: key=value,… and x-sim-key: value.
func (d *Directives) headerDirectives(r *request) error {
	for i := range r.headers {
		h := &r.headers[i]
		if len(h.name) < len("x-sim") || !equalFold(h.name[:5], "x-sim") {
			continue
		}
		if len(h.name) == len("x-sim") {
			if err := d.parse(string(h.value)); err != nil {
				return err
			}
			continue
		}
		if h.name[5] != '-' {
			continue
		}
		key := strings.ToLower(string(h.name[6:]))
		if err := d.set(key, string(h.value)); err != nil {
			return fmt.Errorf("header x-sim-%s: %s: %w", key, h.value, err)
		}
	}
	return nil
}
