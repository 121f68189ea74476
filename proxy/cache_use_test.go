package proxy

import (
	"fmt"
	"io"
	"testing"
	"time"

	"llm-auto-optimizer/config"
)

// A reload that leaves the routes as they are leaves alone what requests and operators are reading of them.
func TestCache_RulesWhileOtherSettingsChange(t *testing.T) {
	t.Parallel()
	up := echoingChat(t)
	c := cachingConfig(up)
	c.Routes = map[string]config.Route{"chat": {
		Name: "chat", Match: config.Match{Model: []string{"gpt-4o-mini"}}, Attempts: 1, Cache: c.Cache.CacheRules,
		Targets: map[string]config.Target{"a": {Name: "a", Provider: "openai", Weight: 1}},
	}}
	g := startCached(t, c, &mapCache{}, nil, io.Discard)
	other := *c
	other.Server.ResponseHeaders = true
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		for i := range 30 {
			body := fmt.Sprintf(`{"model":"gpt-4o-mini","messages":[{"role":"user","content":"question %d"}]}`, i%10)
			if got := chatText(t, g.addr, "ann", body); got != fmt.Sprintf("ann question %d", i%10) {
				t.Errorf("got %q", got)
			}
			if rules, keeps := g.p.CacheRules("chat"); !keeps || rules.TTL != time.Hour {
				t.Errorf("rules %+v, %v", rules, keeps)
			}
		}
	}()
	for under := true; under; {
		commit, err := g.p.Prepare(&other)
		if err != nil {
			t.Fatal(err)
		}
		commit()
		select {
		case <-asked:
			under = false
		case <-time.After(time.Millisecond):
		}
	}
	if _, keeps := g.p.CacheRules("gone"); keeps {
		t.Error("a route that there is none of keeps answers")
	}
	if _, keeps := g.p.CacheRules(directRoute); !keeps {
		t.Error("requests outside of routes are not kept")
	}
	g.stop() // all is counted then
	use := g.p.CacheUse()
	if len(use) != 2 || use[0].Route != "chat" || use[0].Results["hit"]+use[0].Results["miss"] != 30 || use[0].Results["hit"] == 0 || use[0].Stored != use[0].Results["miss"] ||
		use[0].Sooner <= 0 || use[1].Route != directRoute || len(use[1].Results) > 0 {
		t.Errorf("use: %+v", use)
	}
}
