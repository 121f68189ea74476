package proxy

import (
	"strconv"
	"strings"
	"time"

	"llm-auto-optimizer/proxy/pick"
)

const (
	// targetHeader names the target of a route that is to serve a request.
	targetHeader = "x-llmopt-target"
	// optionsHeader sets options of a route for one request: "attempts=1, timeout=2s, affinity=off, hedge=off".
	optionsHeader = "x-llmopt-route-options"
)

// readOverrides takes what the request sets for itself.
func (x *Exchange) readOverrides(r *routeState, q *pick.Query, affinity *bool) error {
	if name := x.peek(targetHeader); len(name) > 0 {
		t := r.pick.Target(string(name))
		switch {
		case !r.allows.target:
			return fail(&overrideForbidden, nil)
		case t == nil:
			return fail(&unknownTarget, nil)
		}
		q.Pin = t.Index() + 1
	}
	for option := range strings.SplitSeq(string(x.peek(optionsHeader)), ",") {
		key, value, _ := strings.Cut(strings.TrimSpace(option), "=")
		value = strings.TrimSpace(value)
		var allowed, ok bool
		switch strings.TrimSpace(key) {
		case "":
			continue
		case "attempts":
			n, err := strconv.Atoi(value)
			allowed, ok = r.allows.attempts, err == nil && n >= 1 && n <= 20
			x.attemptsLeft = min(n, r.config.Attempts) // fewer, never more
		case "timeout":
			d, err := time.ParseDuration(value)
			allowed, ok = r.allows.timeout, err == nil && d > 0
			x.firstByte = d
		case "affinity":
			allowed, ok = r.allows.affinity, value == "on" || value == "off"
			*affinity = value == "on"
		case "hedge":
			allowed, ok = r.allows.hedge, value == "on" || value == "off"
			x.unhedged = value == "off"
		}
		switch {
		case !ok:
			return fail(&badOption, nil)
		case !allowed:
			return fail(&overrideForbidden, nil)
		}
	}
	return nil
}
