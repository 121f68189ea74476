package load

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
)

// lengths are ServeGen's distributions of the lengths of one client, as they change in time.
type lengths struct{ periods []lengthPeriod }

type lengthPeriod struct {
	start         time.Duration
	input, output discrete
}

// discrete is a distribution over lengths in tokens.
type discrete struct {
	tokens []int
	shares []float64 // cumulated
}

// Fields with the tokens of a prompt, by preference, and of an answer.
var (
	inputFields  = []string{"input_tokens", "text_tokens"}
	outputFields = []string{"output_tokens"}
)

// readLengths reads an object: seconds → field → "{length: probability, …}".
func readLengths(r io.Reader) (*lengths, error) {
	var raw map[string]map[string]string
	if err := json.NewDecoder(r).Decode(&raw); err != nil {
		return nil, fmt.Errorf("want a JSON object of seconds, fields and {length: probability} in a string: %w", err)
	}
	l := &lengths{}
	for key, fields := range raw {
		seconds, err := strconv.ParseUint(key, 10, 32)
		if err != nil || seconds > uint64(maxSpan/time.Second) {
			return nil, fmt.Errorf("key %.40q: want seconds from 0 to %d", key, maxSpan/time.Second)
		}
		p := lengthPeriod{start: time.Duration(seconds) * time.Second}
		if p.input, err = readDiscrete(fields, inputFields); err != nil {
			return nil, fmt.Errorf("seconds %s: %w", key, err)
		}
		if p.output, err = readDiscrete(fields, outputFields); err != nil {
			return nil, fmt.Errorf("seconds %s: %w", key, err)
		}
		l.periods = append(l.periods, p)
	}
	if len(l.periods) == 0 {
		return nil, errors.New("it holds no distributions")
	}
	slices.SortFunc(l.periods, func(a, b lengthPeriod) int { return int((a.start - b.start) / time.Second) })
	return l, nil
}

// readDiscrete reads the first of the fields that is there.
func readDiscrete(fields map[string]string, names []string) (d discrete, err error) {
	for _, name := range names {
		s, ok := fields[name]
		if !ok {
			continue
		}
		if d, err = parseDiscrete(s); err != nil {
			return d, fmt.Errorf("%s: %w", name, err)
		}
		return d, nil
	}
	return d, fmt.Errorf("no %s", strings.Join(names, " or "))
}

func parseDiscrete(s string) (d discrete, err error) {
	inner, ok := strings.CutPrefix(strings.TrimSpace(s), "{")
	inner, closed := strings.CutSuffix(inner, "}")
	if !ok || !closed {
		return d, fmt.Errorf("%.40q: want {length: probability, …}", s)
	}
	sum := 0.0
	for pair := range strings.SplitSeq(inner, ",") {
		length, share, _ := strings.Cut(pair, ":")
		n, err := strconv.Atoi(strings.TrimSpace(length))
		if err != nil || n < 0 || n > maxPrompt {
			return d, fmt.Errorf("length %.40q: want a number from 0 to %d", length, maxPrompt)
		}
		p, err := strconv.ParseFloat(strings.TrimSpace(share), 64)
		if err != nil || !(p >= 0 && p <= 1) {
			return d, fmt.Errorf("probability %.40q of length %d: want a number from 0 to 1", share, n)
		}
		if p == 0 {
			continue
		}
		sum += p
		d.tokens, d.shares = append(d.tokens, max(n, 1)), append(d.shares, sum) // nothing at all cannot be asked
	}
	if sum == 0 {
		return d, fmt.Errorf("%.40q: the probabilities' sum is 0", s)
	}
	return d, nil
}

func (d *discrete) draw(rng *rand.Rand) int {
	u := rng.Float64() * d.shares[len(d.shares)-1]
	return d.tokens[sort.Search(len(d.shares)-1, func(i int) bool { return u < d.shares[i] })]
}

// draw draws what a request at a time has: by the distributions of its period, or of the first.
func (l *lengths) draw(at time.Duration, rng *rand.Rand) (input, output int) {
	i := sort.Search(len(l.periods), func(i int) bool { return l.periods[i].start > at })
	p := &l.periods[max(0, i-1)]
	return p.input.draw(rng), p.output.draw(rng)
}
