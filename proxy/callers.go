package proxy

import (
	"llm-auto-optimizer/config"
	"llm-auto-optimizer/proxy/limit"
)

// callers are those that the configuration names.
type callers struct {
	byCredential map[hashID]*callerState
	byHeader     []*callerState
	only         bool // others are refused
}

// callerState is a caller with a name.
type callerState struct {
	name     string
	id       limit.ID
	priority int
	headers  []headerMatch
}

func newCallers(c *config.Config, h *hasher) callers {
	all := callers{byCredential: map[hashID]*callerState{}, only: c.Admission.UnknownCallers == config.CallersRefused}
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

// nameCaller finds out which of the callers with a name the exchange's is. By its credentials first, all of them: headers are easier to make up, and who shows
// another one beside it is the same caller.
func (x *Exchange) nameCaller() {
	all := &x.settings.callers
	if len(all.byCredential) > 0 {
		if x.known = all.byCredential[x.caller]; x.known == nil {
			x.credentials(func(c []byte) bool {
				var id hashID
				id, x.head = x.p.hasher.hash(x.head, callerDomain, c)
				x.known = all.byCredential[id]
				return x.known == nil
			})
		}
	}
	for _, s := range all.byHeader {
		if x.known == nil && x.hasHeaders(s.headers) {
			x.known = s
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
