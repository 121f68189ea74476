package proxy

import (
	"time"

	"llm-auto-optimizer/config"
	"llm-auto-optimizer/proxy/admission"
	"llm-auto-optimizer/proxy/limit"
)

// limits are what the configuration allows of requests.
type limits struct {
	rules []limit.Rule
	named map[string]*config.Limit // by the name of the rule
	spend bool                     // some are in money
	sized bool                     // the length of answers makes a difference to some
	waits admission.Options
}

func newLimits(c *config.Config) limits {
	all := limits{
		named: map[string]*config.Limit{},
		waits: admission.Options{MaxWait: c.Admission.MaxWait, Waiters: c.Admission.Waiters, Jitter: c.Admission.Jitter},
	}
	for _, l := range c.LimitList() {
		r := ruleOf(&l)
		all.rules, all.named[l.Name] = append(all.rules, r), &l
		for i := range r.Limits {
			of := r.Limits[i].Of
			all.spend = all.spend || of == limit.Spend
			all.sized = all.sized || of == limit.Spend || of == limit.Tokens || of == limit.OutputTokens
		}
	}
	return all
}

// ruleOf is a configured limit as package limit has it.
func ruleOf(l *config.Limit) limit.Rule {
	r := limit.Rule{Name: l.Name, Observe: l.Observe, Caller: scopeOf(l.Caller), Route: scopeOf(l.Route), Target: scopeOf(l.Target)}
	for _, n := range [...]struct {
		of   limit.Dimension
		per  limit.Period
		most int
	}{
		{limit.Requests, limit.Second, l.RequestsPerSecond}, {limit.Requests, limit.Minute, l.RequestsPerMinute},
		{limit.InputTokens, limit.Minute, l.InputTokensPerMinute}, {limit.OutputTokens, limit.Minute, l.OutputTokensPerMinute},
		{limit.Tokens, limit.Minute, l.TokensPerMinute}, {limit.Concurrent, 0, l.Concurrent},
	} {
		if n.most == 0 {
			continue
		}
		one := limit.Limit{Of: n.of, Per: n.per, Most: int64(n.most)}
		if n.of == limit.Requests {
			one.Burst, one.Smooth = int64(l.Burst), l.Smooth
		}
		r.Limits = append(r.Limits, one)
	}
	for _, n := range [...]struct {
		per    limit.Period
		amount string
	}{{limit.Minute, l.USDPerMinute}, {limit.Hour, l.USDPerHour}, {limit.Day, l.USDPerDay}, {limit.Month, l.USDPerMonth}} {
		if n.amount != "" {
			r.Limits = append(r.Limits, limit.Limit{Of: limit.Spend, Per: n.per, Most: int64(config.Money(n.amount)), Rolling: l.Rolling, Zone: l.Zone()})
		}
	}
	return r
}

func scopeOf(s string) limit.Scope {
	switch s {
	case config.ScopeAll:
		return limit.Scope{}
	case config.ScopeEach:
		return limit.Scope{Each: true}
	}
	return limit.Scope{Only: limit.Name(s)}
}

// configureGate puts the limits of the settings in force.
func (p *Proxy) configureGate(s *settings) {
	waits := s.limits.waits
	waits.Waited = func(d time.Duration) { p.metrics.limitWait.Update(d.Seconds()) }
	if err := p.gate.Configure(time.Now(), s.limits.rules, waits); err != nil {
		p.oplog.Error().Err(err).Msg("limits are as they were") // a bug: the configuration was checked
	}
}
