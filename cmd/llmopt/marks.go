package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"llm-auto-optimizer/optimizer/control/controlpb"
	"llm-auto-optimizer/optimizer/state"
	"llm-auto-optimizer/proxy"
	"llm-auto-optimizer/proxy/pick"
)

// marks are what operators have done to targets by hand: drained or ejected ones. The targets keep them over a reload; here they are journalled,
// and stored so that they outlive a restart.
type marks struct {
	g *gateway

	mu  sync.Mutex
	set map[string]mark // by name, since the start: what was stored before is out of date. Restored targets are in it too
}

// mark is what is stored of a target.
type mark struct {
	Route  string    `json:"route"`
	Target string    `json:"target"`
	Action string    `json:"action"` // drain or eject
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
}

const (
	marksNamespace = "targets"
	marksTimeout   = 5 * time.Second // of a call of the store
)

// markName is the name that a target's mark is stored by. Names of routes and targets hold no slash.
func markName(route, target string) string { return route + "/" + target }

// wordOf is an action's name in logs, and in the store.
func wordOf(a controlpb.SetTargetRequest_Action) string {
	return strings.ToLower(strings.TrimPrefix(a.String(), "ACTION_"))
}

// change does what an operator asks for, and notes it.
func (m *marks) change(t *pick.Target, action controlpb.SetTargetRequest_Action, reason string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	mk := mark{Route: t.Route().Name(), Target: t.Name(), Action: wordOf(action), Reason: reason, At: time.Now()}
	mk.put(t, m.g.proxy)
	m.keep(mk)
	log := m.g.log.With().Str("route", mk.Route).Str("target", mk.Target).Logger()
	log.Warn().Str("action", mk.Action).Str("reason", reason).Msg("an operator has set a target")
	if m.g.durable == nil {
		return
	}
	now := m.g.policy.Load()
	m.g.durable.keeper.Journal(state.Entry{
		At: mk.At, Kind: state.KindTarget, Reason: mk.Action + ": " + reason, From: now.Version, To: now.Version,
		Changed: []string{fmt.Sprintf("routes.%s.targets.%s", mk.Route, mk.Target)},
	}, now)
	if err := m.store(&mk); err != nil {
		log.Warn().Err(err).Msg("what an operator has set is not stored: it holds until the next restart")
	}
}

// keep remembers a mark. It runs under the mutex.
func (m *marks) keep(mk mark) {
	if m.set == nil {
		m.set = map[string]mark{}
	}
	m.set[markName(mk.Route, mk.Target)] = mk
}

// again puts the targets of a new configuration where operators have them: some are there again after they were away, and some were set while it was made.
func (m *marks) again() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, mk := range m.set {
		if t := m.g.proxy.Target(mk.Route, mk.Target); t != nil && mk.Action != "restore" {
			mk.put(t, m.g.proxy)
		}
	}
}

// put has the target be as the mark says.
func (mk *mark) put(t *pick.Target, p *proxy.Proxy) {
	switch mk.Action {
	case "drain":
		t.Drain(true, mk.Reason)
	case "eject":
		t.Eject(mk.Reason)
	case "restore":
		p.Restore(t)
	}
}

func (m *marks) store(mk *mark) error {
	ctx, cancel := context.WithTimeout(m.g.stopping, marksTimeout)
	defer cancel()
	name := markName(mk.Route, mk.Target)
	if mk.Action == "restore" {
		return m.g.durable.store.DeleteValue(ctx, marksNamespace, name)
	}
	data, err := json.Marshal(mk)
	if err != nil {
		return err
	}
	return m.g.durable.store.PutValue(ctx, marksNamespace, name, data, 0)
}

// restore puts the targets back to where operators had them, as soon as that can be read.
func (m *marks) restore() {
	if m.g.durable == nil {
		return
	}
	select {
	case <-m.g.durable.keeper.Ready():
		m.read()
	default:
		m.g.background.Go(func() {
			select {
			case <-m.g.durable.keeper.Ready():
				m.read()
			case <-m.g.stopping.Done():
			}
		})
	}
}

func (m *marks) read() {
	m.mu.Lock()
	defer m.mu.Unlock()
	ctx, cancel := context.WithTimeout(m.g.stopping, marksTimeout)
	defer cancel()
	err := m.g.durable.store.Values(ctx, marksNamespace, func(name string, value []byte) error {
		var mk mark
		if err := json.Unmarshal(value, &mk); err != nil {
			m.g.log.Error().Err(err).Str("target", name).Msg("what an operator has set of a target can't be read: it takes traffic")
			return nil
		}
		if _, newer := m.set[name]; newer {
			return nil
		}
		m.keep(mk)
		t := m.g.proxy.Target(mk.Route, mk.Target)
		if t == nil {
			return nil // it may be configured again one day
		}
		mk.put(t, m.g.proxy)
		m.g.log.Warn().Str("route", mk.Route).Str("target", mk.Target).Str("action", mk.Action).Str("reason", mk.Reason).Time("since", mk.At).
			Msg("a target is still as an operator has set it")
		return nil
	})
	if err != nil {
		m.g.log.Error().Err(err).Msg("what operators have set of targets can't be read: they take traffic")
	}
}
