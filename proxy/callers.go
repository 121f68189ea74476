package proxy

import (
	"llm-auto-optimizer/config"
	"llm-auto-optimizer/proxy/limit"
)

// callers are those that the configuration names.
type callers struct {
	byCredential map[hashID]*callerState
	byHeader     []*callerState
}

// callerState is a caller with a name.
type callerState struct {
	name     string
	id       limit.ID
	priority int
	headers  []headerMatch
}

func newCallers(c *config.Config, h *hasher) callers {
	all := callers{byCredential: map[hashID]*callerState{}}
	for _, k := range c.CallerList() {
		s := &callerState{name: k.Name, id: limit.Name(k.Name), priority: k.Priority}
		if !k.Credential.Empty() {
			id, _ := h.hash(nil, callerDomain, []byte(k.Credential.Reveal()))
			all.byCredential[id] = s
			continue
		}
		s.headers = headerMatches(k.Header)
		all.byHeader = append(all.byHeader, s)
	}
	return all
}

// name finds out which of the callers with a name the exchange's is. By its credential first: headers are easier to make up.
func (x *Exchange) nameCaller() {
	all := &x.settings.callers
	if s := all.byCredential[x.caller]; s != nil && x.caller != (hashID{}) {
		x.known = s
	} else if len(all.byHeader) > 0 {
		for _, s := range all.byHeader {
			if x.hasHeaders(s.headers) {
				x.known = s
				break
			}
		}
	}
	if x.known != nil {
		x.who = x.known.id
	}
}

// hasHeaders tells whether the request has all of the headers.
func (x *Exchange) hasHeaders(all []headerMatch) bool {
	for i := range all {
		if value := x.peek(all[i].name); value == nil || !all[i].value.matches(value) {
			return false
		}
	}
	return true
}

// priority is that of the exchange among those that wait.
func (x *Exchange) priority() int {
	if x.known == nil {
		return 0
	}
	return x.known.priority
}
