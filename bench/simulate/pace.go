package simulate

import (
	"time"

	"llm-auto-optimizer/proxy/limit"
)

// pace keeps to a provider's limits, as package proxy/pacing does, in virtual time.
type pace struct {
	line
	pacer *limit.Pacer
	share float64         // of the limits, of who was here last
	last  time.Duration   // that the last attempt that was held back had to wait
	lacks limit.Dimension // what there was no room for then
	told  bool            // in limits that the provider tells of
}

// longestLook is after how long those that wait are looked at, whatever was said.
const longestLook = 250 * time.Millisecond

// mostWaiters may wait for the same limit.
const mostWaiters = 1000

func newPace(w *world) *pace {
	p := &pace{pacer: limit.NewPacer(w.time()), share: limit.DefaultShare}
	p.line = line{
		w: w, longest: longestLook, options: limit.QueueOptions{Work: w.Route.Wait, Waiters: mostWaiters}, least: 200 * time.Microsecond,
		try: func(t *waiting) (limit.Answer, time.Duration) {
			sent, wait := p.pacer.Take(w.time(), limit.Need{Input: t.input, Output: t.output}, p.share)
			if wait > 0 {
				p.last, p.lacks, p.told = wait, sent.Lacks(), sent.Told()
				return limit.Stop, wait
			}
			t.sent = sent
			return limit.Took, 0
		},
	}
	return p
}

// turn is what an attempt was let through with.
type turn struct {
	pace   *pace // nil: its provider has no limits
	sent   limit.Sent
	queue  *limit.Queue // of an attempt that had to wait
	ticket *limit.Ticket
	open   bool // the answer was not told of yet
}

// now lets an attempt through at once, or says when there may be room.
func (p *pace) now(input, output int64) (t turn, wait time.Duration) {
	if n := len(p.all); n > 0 {
		return t, max(p.last, time.Microsecond) * time.Duration(n+1)
	}
	sent, wait := p.pacer.Take(p.w.time(), limit.Need{Input: input, Output: output}, p.share)
	if wait > 0 {
		p.last, p.lacks, p.told = wait, sent.Lacks(), sent.Told()
		return t, wait
	}
	return turn{pace: p, sent: sent, open: true}, 0
}

// retryIn is when there may be room for one that is turned away.
func (p *pace) retryIn() time.Duration {
	return max(p.pacer.RetryIn(p.w.time(), p.share), max(p.last, time.Microsecond)*time.Duration(len(p.all)+1))
}

// wait has an attempt wait for at most so long; then it is let through or refused.
func (p *pace) wait(t *waiting, most time.Duration, through func(turn), refused func()) {
	if most <= 0 || p.pacer.RetryIn(p.w.time(), p.share) > most {
		refused()
		return
	}
	t.granted = func(delay time.Duration) {
		let := turn{pace: p, sent: t.sent, ticket: &t.Ticket, queue: t.in, open: true}
		p.w.at(p.w.now+delay, func() { through(let) })
	}
	t.refused = refused
	p.begin = p.last
	if !p.join(t, most) {
		refused()
	}
}

// answered takes in what came back, and tells whether an episode of refusals has begun with it.
func (t *turn) answered(now time.Time, v limit.Verdict, h *limit.Headers, after time.Duration, draw float64) (first bool) {
	if t.pace == nil || !t.open {
		return false
	}
	t.open = false
	first = t.pace.pacer.Answered(now, t.sent, v, h, after, draw) == limit.Episode
	t.pace.nudge()
	return first
}

// end ends the turn of an attempt that took so many tokens.
func (t *turn) end(now time.Time, tokens int64) {
	if t.pace == nil {
		return
	}
	t.answered(now, limit.Other, nil, 0, 0)
	if t.queue != nil && tokens > 0 {
		t.queue.Settle(t.ticket, tokens)
	}
	t.pace.nudge()
	*t = turn{}
}
