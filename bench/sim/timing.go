package sim

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// dist is a distribution of positive numbers: nothing said, a constant, or lognormal with the given median and the
// standard deviation sigma of the logarithm.
type dist struct {
	set           bool
	median, sigma float64
}

// maxSigma keeps draws finite: beyond it one draw in a hundred is 10,000 times the median.
const maxSigma = 4

// draw takes one number out of d, 0 when d is not set.
func (d dist) draw(r *random) float64 {
	if d.sigma == 0 {
		return d.median
	}
	return d.median * math.Exp(d.sigma*r.normal())
}

// parseDist reads "median" or "median~sigma"; number reads the median.
func parseDist(s string, number func(string) (float64, error)) (dist, error) {
	median, sigma, spread := strings.Cut(s, "~")
	m, err := number(median)
	if err != nil {
		return dist{}, err
	}
	d := dist{set: true, median: m}
	if spread {
		d.sigma, err = strconv.ParseFloat(sigma, 64)
		if err != nil || !(d.sigma >= 0 && d.sigma <= maxSigma) {
			return dist{}, fmt.Errorf("sigma %q: want a number from 0 to %d", sigma, maxSigma)
		}
	}
	return d, nil
}

// duration reads a Go duration, or a plain 0, in nanoseconds.
func duration(s string) (float64, error) {
	if s == "0" {
		return 0, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, err
	}
	if d < 0 {
		return 0, errors.New("duration must not be negative")
	}
	return float64(d), nil
}

// number reads a count.
func number(s string) (float64, error) {
	n, err := strconv.ParseUint(s, 10, 31)
	return float64(n), err
}

// random is a small generator (splitmix64, Steele et al. 2014). Its stream depends on its start only.
type random struct{ state uint64 }

func (r *random) next() uint64 {
	r.state += 0x9e3779b97f4a7c15
	return scramble(r.state)
}

// float returns a number in [0, 1).
func (r *random) float() float64 { return float64(r.next()>>11) / (1 << 53) }

// normal returns a standard normal number by the method of Box and Muller.
func (r *random) normal() float64 {
	u := 1 - r.float() // (0, 1]: the logarithm stays finite
	return math.Sqrt(-2*math.Log(u)) * math.Cos(2*math.Pi*r.float())
}

// scramble is the finalizer of splitmix64: a bijection in which every input bit moves half of the output bits.
func scramble(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// pace is how fast one answer comes.
type pace struct {
	first    time.Duration // to the first byte
	perToken float64       // nanoseconds per output token, drawn anew for every answer
}

// pace draws the speed of an answer and stretches it by the load.
func (x *exchange) pace() pace {
	stretch := 1.0
	if c := x.srv.opt.Capacity; c > 0 {
		stretch = max(1, float64(x.srv.stats.inflight.Load())/float64(c))
	}
	r := random{x.srv.opt.Seed ^ scramble(x.seq)}
	return pace{
		first:    time.Duration(x.d.ttft.draw(&r) * stretch),
		perToken: x.d.perToken.draw(&r) * stretch,
	}
}

// tokens is the time n tokens take.
func (p pace) tokens(n int) time.Duration { return time.Duration(p.perToken * float64(n)) }
