package sim

import "time"

// quotaUse is an exchange's part in a quota.
type quotaUse struct {
	entry   *quotaEntry // nil: no quota was asked
	through bool
	need    need
	settled bool
	stands  standings // after it
	quota   Quota     // that it met
}

// metered tells which operations count against a quota: those that generate or embed. Lists, files and counts have limits of their own.
func (op operation) metered() bool {
	switch op {
	case opChat, opCompletions, opResponses, opEmbeddings, opModerations, opImages, opTranscriptions, opSpeech, opMessages, opGenerate, opStreamGenerate,
		opEmbedContent, opBatchEmbed:
		return true
	}
	return false
}

// admit asks the quota. It is false when the request is refused, and then a says so.
func (x *exchange) admit(a *answer) bool {
	if !x.op.metered() || x.d.echo || !x.authorized() || string(x.req.method) == "OPTIONS" {
		return true
	}
	m, now := &x.srv.quota, time.Now()
	u := &x.use
	*u = quotaUse{quota: m.quota()}
	id := uint64(0)
	if u.quota.perKey {
		id = fold(id+uint64(x.dialect)+1, x.credential())
	}
	if u.quota.perModel {
		id = fold(id, []byte(x.in.model))
	}
	input := float64(countTokens(len(x.body)))
	u.need = need{measureRequests: 1, measureInput: input, measureTokens: input + float64(x.in.maxTokens), measureOutput: 1}
	var r *refusal
	u.entry, r = m.admit(id, &u.need, now)
	if r == nil {
		u.through = true
		return true
	}
	u.stands = m.standings(u.entry, now)
	x.refuse(a, r)
	return false
}

// used tells the quota what the answer takes: prompts as the provider counts them, which with Anthropic are those that were not read from the cache.
func (x *exchange) used(input, cached, output int) {
	u := &x.use
	if !u.through || u.settled {
		return
	}
	if x.dialect == dialectAnthropic {
		input -= cached
	}
	is := need{measureRequests: 1, measureInput: float64(input), measureOutput: float64(output), measureTokens: float64(input + output)}
	m, now := &x.srv.quota, time.Now()
	m.settle(u.entry, &u.need, &is, now)
	u.settled, u.stands = true, m.standings(u.entry, now)
}

// done gives back the place among requests at a time: before the last byte goes out, as the client may ask again as soon as it has that.
func (x *exchange) done() {
	if x.use.through {
		x.use.through = false
		x.srv.quota.release(x.use.entry)
	}
}

// leave ends the exchange's part in a quota.
func (x *exchange) leave() {
	if x.use.entry != nil {
		x.done()
		x.use = quotaUse{}
	}
}
