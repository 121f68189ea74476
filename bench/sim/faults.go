package sim

import (
	"fmt"
	"sort"
	"strconv"
	"strings"
)

// fault is a set of things that go wrong, or at least unusually, with one answer.
type fault uint64

// The faults. Their spelling stands in faultNames, their meaning in the package documentation.
const (
	faultResetHead fault = 1 << iota
	faultCloseHead
	faultStallHead
	faultResetMid
	faultCloseMid
	faultStallMid
	faultTruncatedChunk
	faultBadChunk
	faultNoEnd
	faultErrorEvent
	faultErrorBody
	faultEmpty
	faultLengthLong
	faultLengthShort
	faultSurplus
	faultDrip
	faultIdleClose
	faultEarly413
	faultEarly413Close
	faultEarlyStream
	faultHuge
	faultNoUsageOption
	faultNoCacheControl
	faultGzip
	faultBrotli
	faultZstd
	faultDeflate
	faultInterim100
	faultInterim103
	faultHTTP10
	faultChunked
	faultOddCase
	faultDuplicateHeaders
	faultHopHeaders
	faultBigHeader
	faultComments
	faultCRLF
	faultsEnd
)

const (
	// faultsMid happen after some of the body has been sent.
	faultsMid = faultResetMid | faultCloseMid | faultStallMid | faultTruncatedChunk | faultBadChunk | faultErrorEvent
	// faultsEarly happen before the request's body has been read.
	faultsEarly = faultEarly413 | faultEarly413Close | faultEarlyStream
	// faultsEncoding choose a content coding, if the client accepts it.
	faultsEncoding = faultGzip | faultBrotli | faultZstd | faultDeflate
)

// faultNames lists the spellings in the order of the constants.
var faultNames = [...]string{
	"reset-head", "close-head", "stall-head", "reset-mid", "close-mid", "stall-mid", "truncated-chunk", "bad-chunk",
	"no-end", "error-event", "error-body", "empty", "length-long", "length-short", "surplus", "drip", "idle-close",
	"early-413", "early-413-close", "early-stream", "huge", "no-usage-option", "no-cache-control",
	"gzip", "br", "zstd", "deflate",
	"interim-100", "interim-103", "http10", "chunked", "odd-case", "duplicate-headers", "hop-headers", "big-header",
	"comments", "crlf",
}

// FaultNames returns the names of all faults but the status codes, sorted.
func FaultNames() []string {
	names := append([]string(nil), faultNames[:]...)
	sort.Strings(names)
	return names
}

// has tells whether any of the faults in g are in f.
func (f fault) has(g fault) bool { return f&g != 0 }

// parseFaults reads names and status codes joined by '+'. "none" is the empty set.
func parseFaults(s string) (f fault, status int, err error) {
	for name := range strings.SplitSeq(s, "+") {
		if name == "none" {
			continue
		}
		if code, err := strconv.Atoi(name); err == nil {
			if code != 204 && (code < 400 || code > 599) {
				return 0, 0, fmt.Errorf("status %d: want 204 or 400 to 599", code)
			}
			status = code
			continue
		}
		one, ok := faultByName(name)
		if !ok {
			return 0, 0, fmt.Errorf("unknown fault %q", name)
		}
		f |= one
	}
	return f, status, nil
}

func faultByName(name string) (fault, bool) {
	for i, n := range faultNames {
		if n == name {
			return 1 << i, true
		}
	}
	return 0, false
}

// Rates are probabilities of faults. Their sum is at most 1: a request suffers at most one of them.
type Rates struct {
	faults []fault
	status []int
	upTo   []float64 // cumulated
}

// ParseRates reads "reset-mid=0.01,429=0.02".
func ParseRates(s string) (Rates, error) {
	var r Rates
	if s == "" {
		return r, nil
	}
	sum := 0.0
	for item := range strings.SplitSeq(s, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(item), "=")
		f, status, err := parseFaults(name)
		if err != nil {
			return Rates{}, err
		}
		p, err := strconv.ParseFloat(value, 64)
		if err != nil || !(p >= 0 && p <= 1) {
			return Rates{}, fmt.Errorf("rate of %s is %q: want a number from 0 to 1", name, value)
		}
		sum += p
		r.faults, r.status, r.upTo = append(r.faults, f), append(r.status, status), append(r.upTo, sum)
	}
	if sum > 1+1e-9 {
		return Rates{}, fmt.Errorf("rates sum up to %v: want at most 1", sum)
	}
	return r, nil
}

// draw picks the fault of a request by u in [0, 1).
func (r *Rates) draw(u float64) (f fault, status int) {
	for i, edge := range r.upTo {
		if u < edge {
			return r.faults[i], r.status[i]
		}
	}
	return 0, 0
}
