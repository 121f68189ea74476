package proxy

import (
	"bytes"
	"encoding/binary"
	"net/http"
	"sync/atomic"
	"time"

	"llm-auto-optimizer/config"
	"llm-auto-optimizer/proxy/pick"
	"llm-auto-optimizer/proxy/provider"
)

// promptArm says what becomes of an attempt whose prompt could be marked for the provider's cache.
type promptArm uint8

const (
	promptNone    promptArm = iota // the route does not ask for it, or there is nothing to mark
	promptMarked                   // it is marked
	promptControl                  // it stays as the client wrote it: by such attempts is seen what would have been cached anyway
	promptArms
)

func (a promptArm) String() string { return [promptArms]string{"", "marked", "control"}[a] }

// promptCaching is an attempt's share in the provider's prompt cache.
type promptCaching struct {
	arm   promptArm
	marks int
	saved config.NanoUSD // what reads have saved less what writes have cost in addition; once the attempt is accounted for
}

// controlShare is the part of the sessions in 1024 that stay unmarked: 5 %.
const controlShare = 51

// maxRefusals is how often in a row a target may refuse marks before none are sent to it any more. One refusal may be about the request.
const maxRefusals = 3

// markPrompt tells where the prompt is to be marked, and notes what becomes of it.
func (x *Exchange) markPrompt() (b provider.Breakpoints) {
	x.prompt = promptCaching{}
	if x.route == nil || x.route.prompts == nil || x.operation != provider.Messages || x.rest != nil || !x.request.Valid ||
		atomic.LoadUint32(&x.marksRefused) != 0 || x.target.refusedMarks.Load() >= maxRefusals || x.route.prompts.effect.suspended(time.Now()) {
		return b
	}
	b = provider.FindBreakpoints(x.body, provider.MinCachedTokens(x.upstreamModel()), x.route.prompts.hour)
	switch {
	case b.Len() == 0:
	case x.inControl():
		x.prompt.arm = promptControl
		return provider.Breakpoints{}
	default:
		x.prompt.arm, x.prompt.marks = promptMarked, b.Len()
	}
	return b
}

// inControl tells whether the exchange's session is one of those that stay unmarked. Of the session's hash it looks at bits that the arms of the policy
// do not depend on.
func (x *Exchange) inControl() bool {
	session := binary.LittleEndian.Uint64(x.session[:])
	if x.session == (hashID{}) {
		session = pick.Draw()
	}
	return session&1023 < controlShare
}

// refusesMarks tells whether the provider has refused the request for the marks that were added to it.
func (x *Exchange) refusesMarks() bool {
	return x.prompt.arm == promptMarked && !x.streamed && (x.status == http.StatusBadRequest || x.status == http.StatusUnprocessableEntity) &&
		bytes.Contains(x.errorText(), []byte("cache_control"))
}

// giveUpMarks has the exchange go on unmarked, and its target too where it has refused too often.
func (x *Exchange) giveUpMarks() {
	atomic.StoreUint32(&x.marksRefused, 1)
	x.route.prompts.counts.refused.Add(1)
	if x.target.refusedMarks.Add(1) == maxRefusals {
		x.p.oplog.Warn().Str("route", x.route.name).Str("target", x.target.name).Msg("target refuses cache_control: prompts go there unmarked from now on")
	}
}

// countPrompt adds what an attempt has read and written of the provider's prompt cache to what its route knows of it.
func (x *Exchange) countPrompt(now time.Time) {
	c := &x.prompt
	if c.arm == promptNone || x.attempt.status >= http.StatusMultipleChoices {
		return
	}
	if _, stated := x.meter.Usage(); !stated {
		return
	}
	r := x.route.prompts
	r.counts.arms[c.arm].add(&x.usage, c.saved)
	x.chargePrompt()
	if c.arm == promptControl {
		return
	}
	if x.target.refusedMarks.Load() > 0 {
		x.target.refusedMarks.Store(0)
	}
	if x.unpriced {
		return
	}
	switch d := r.effect.add(now, c.saved); {
	case d.pause > 0:
		x.p.oplog.Warn().Str("route", x.route.name).Str("lost_usd", string(appendUSD(nil, -d.net))).Dur("for", d.pause).
			Msg("prompt cache suspended: more was paid for writing than was saved by reading")
	case d.back:
		x.p.oplog.Info().Str("route", x.route.name).Str("saved_usd", string(appendUSD(nil, d.net))).Msg("prompt cache pays again")
	}
}

// promptSaving is what a usage costs less than it would if nothing of it had been read from or written to a cache. Negative: it costs more.
func promptSaving(u *provider.Usage, r *config.Rates) config.NanoUSD {
	plain := *u
	plain.Input += u.CacheRead + u.CacheWrite5m + u.CacheWrite1h
	plain.CacheRead, plain.CacheWrite5m, plain.CacheWrite1h = 0, 0, 0
	return costOf(&plain, r) - costOf(u, r)
}
