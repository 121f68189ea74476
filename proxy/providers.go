package proxy

import (
	"cmp"
	"fmt"
	"sort"
	"strings"

	"github.com/cespare/xxhash/v2"

	"llm-auto-optimizer/config"
	"llm-auto-optimizer/proxy/policy"
	"llm-auto-optimizer/proxy/provider"
	"llm-auto-optimizer/proxy/upstream"
)

// providerState is a configured provider as the request path needs it. It is immutable but for the origin's pool.
type providerState struct {
	name      string
	dialect   provider.Dialect
	priceHint string // whose prices apply
	origin    *upstream.Origin
	config    config.Provider // what it was made of
	owner     *owner
	cacheKey  string // in the keys of answers

	identity   uint64 // of the address with the lines below: what limits are for, but for the client's key
	hasKey     bool   // the configured key replaces whatever the client sent
	headerLine []byte // header lines to add to each request, CRLF at each end: credential and extra headers
	replaced   []string
}

func newProviderState(c *config.Provider, rawIO bool) (*providerState, error) {
	s := &providerState{name: c.Name, priceHint: c.PriceHint(), config: *c, cacheKey: cacheKeyOfProvider(c)}
	var known bool
	if s.dialect, known = provider.ParseDialect(c.Dialect); !known {
		return nil, fmt.Errorf("providers.%s.dialect: %q is not a dialect", c.Name, c.Dialect)
	}
	var err error
	if s.origin, err = upstream.NewOrigin(c, rawIO); err != nil {
		return nil, fmt.Errorf("providers.%s.%w", c.Name, err)
	}
	s.owner = &owner{key: c.Name, provider: c.Name, route: directRoute}
	s.setHeaders(c.APIKey.Reveal())
	return s, nil
}

// setHeaders makes the header lines to add to each request. An empty key leaves the client's credential as it is.
func (s *providerState) setHeaders(key string) {
	c := &s.config
	var line strings.Builder
	s.replaced, s.hasKey = nil, key != ""
	if s.hasKey {
		s.replaced = append(s.replaced, credentialHeaders...)
		switch auth := cmp.Or(c.Auth, defaultAuth[s.dialect]); auth {
		case "bearer":
			fmt.Fprintf(&line, "Authorization: Bearer %s\r\n", key)
		default:
			fmt.Fprintf(&line, "%s: %s\r\n", auth, key)
		}
	}
	names := make([]string, 0, len(c.Headers))
	for name := range c.Headers {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		s.replaced = append(s.replaced, strings.ToLower(name))
		fmt.Fprintf(&line, "%s: %s\r\n", name, c.Headers[name].Reveal())
	}
	s.headerLine = []byte(line.String())
	s.identity = xxhash.Sum64String(c.BaseURL + "\n" + line.String())
}

// withKey is the same provider, with the same connections, for another key.
func (s *providerState) withKey(key config.Secret) *providerState {
	other := *s
	other.setHeaders(key.Reveal())
	return &other
}

// withoutCredential is the same provider, with the same connections, for requests whose credential was meant for another one.
func (s *providerState) withoutCredential() *providerState {
	other := *s
	other.replaced, other.hasKey = append(append([]string(nil), credentialHeaders...), s.replaced...), true
	return &other
}

var defaultAuth = map[provider.Dialect]string{
	provider.OpenAI:    "bearer",
	provider.Anthropic: "x-api-key",
	provider.Gemini:    "x-goog-api-key",
}

// replaces tells whether a client's header gives way to a configured one.
func (s *providerState) replaces(name []byte) bool {
	for _, r := range s.replaced {
		if upstream.EqualFold(name, r) {
			return true
		}
	}
	return false
}

// PolicyOf is the policy that the configuration itself asks for: what is in force until somebody publishes another.
func PolicyOf(c *config.Config) policy.Snapshot {
	s := policy.Snapshot{Providers: make(map[string]policy.Provider, len(c.Providers)), Routes: routePolicies(c)}
	for name, p := range c.Providers {
		s.Providers[name] = policy.Provider{
			Timeouts: policy.Timeouts{
				Connect: p.Timeouts.Connect, FirstByte: p.Timeouts.FirstByte, Idle: p.Timeouts.Idle, Total: p.Timeouts.Total,
			},
			RequestUsage: p.RequestUsage,
			Pacing: policy.Pacing{
				Share: p.Pacing.Share, MaxWait: p.Pacing.MaxWait, MinConcurrent: p.Pacing.MinConcurrent, MaxConcurrent: p.Pacing.MaxConcurrent,
			},
		}
	}
	return s
}
