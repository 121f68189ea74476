package proxy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"

	"llm-auto-optimizer/config"
	"llm-auto-optimizer/proxy/ledger"
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

// What the cache did is counted by the class of the request, and what it has saved is credited to who asked, beside what was spent.
func TestCache_CountsByClass(t *testing.T) {
	t.Parallel()
	up := echoingChat(t)
	c := cachingConfig(up)
	c.Routes = map[string]config.Route{"chat": {
		Name: "chat", Match: config.Match{Model: []string{"*"}}, Attempts: 1, Cache: c.Cache.CacheRules,
		Classes: config.Classes{LightInput: 100, LightOutput: 1000, MediumInput: 1000, MediumOutput: 2000},
		Targets: map[string]config.Target{"a": {Name: "a", Provider: "openai", Model: "gpt-4o-mini", Weight: 1}},
	}}
	var log syncBuffer
	g := startCached(t, c, &mapCache{}, nil, &log)
	sizes, want := map[string]int{"light": 1, "medium": 600, "heavy": 8000}, int64(0)
	for class, size := range sizes {
		question := class + strings.Repeat(" x", size)
		body := fmt.Sprintf(`{"model":"my-model","messages":[{"role":"user","content":%q}]}`, question)
		for range 3 {
			if got := chatText(t, g.addr, "ann", body); got != "ann "+question {
				t.Errorf("got %.40q", got)
			}
			settledFlights(t, g.p)
		}
	}
	g.stop()
	for line := range strings.Lines(log.String()) {
		var l struct {
			Cache string
			Cost  int64 `json:"cost_nanousd"`
		}
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatal(err)
		}
		if l.Cache == "miss" {
			want += 2 * l.Cost
		}
	}
	use := g.p.CacheUse()[0]
	if len(use.Classes) != 3 || use.Results["hit"] != 6 || use.Results["miss"] != 3 || int64(use.Saved) != want || want == 0 || use.Spent != 0 {
		t.Errorf("want %d saved: %+v", want, use)
	}
	all := CacheSums{Results: map[string]uint64{}}
	for i, k := range use.Classes {
		if k.Class != class(i).String() || k.Results["hit"] != 2 || k.Results["miss"] != 1 || k.Served < 2*2*int64(sizes[k.Class]) || k.Sooner <= 0 || k.Saved <= 0 {
			t.Errorf("%+v", k)
		}
		all.add(&k.CacheSums)
	}
	if !reflect.DeepEqual(all, use.CacheSums) {
		t.Errorf("the classes make %+v, the whole is %+v", all, use.CacheSums)
	}
	var scrape bytes.Buffer
	g.p.Metrics().WritePrometheus(&scrape)
	for _, series := range []string{
		`llmopt_cache_requests_total{route="chat",class="heavy",result="hit"} 2`, fmt.Sprintf(`llmopt_cache_served_bytes_total{route="chat",class="light"} %d`, use.Classes[0].Served),
	} {
		if !strings.Contains(scrape.String(), series+"\n") {
			t.Errorf("no %s in %s", series, scrape.String())
		}
	}

	accounts := map[ledger.Key]ledger.Sums{}
	g.p.ledger.Collect(time.Now(), func(_ int64, k ledger.Key, s *ledger.Sums) { k.Caller = ""; accounts[k] = *s })
	asked, saved := accounts[ledger.Key{Provider: "openai", Model: "gpt-4o-mini", Route: "chat"}], accounts[ledger.Key{Model: "gpt-4o-mini", Route: "chat"}]
	if len(accounts) != 2 || asked.Attempts != 3 || 2*asked.CostNanoUSD != want || asked.Savings() != (ledger.Sums{}) {
		t.Errorf("charged: %+v", accounts)
	}
	if saved.Cached != 6 || saved.SavedNanoUSD != want || saved.SavedNanos != int64(use.Sooner) || saved != saved.Savings() {
		t.Errorf("credited %+v, want %d in 6 answers", saved, want)
	}
}

// A client can't fill the ledger with names: what it calls a model counts only where a provider has accepted that, and as far as it is a name.
func TestCache_CreditsAreBounded(t *testing.T) {
	t.Parallel()
	c := cachingConfig(echoingChat(t))
	g := startCached(t, c, &mapCache{}, nil, io.Discard)
	for range 2 {
		body := fmt.Sprintf(`{"model":%q,"messages":[{"role":"user","content":"a"}]}`, strings.Repeat("x", 70_000))
		if status, _, _ := askCached(t, g.addr, "", body, "Authorization", "Bearer k"); status != 200 {
			t.Fatal(status)
		}
		settledFlights(t, g.p)
	}
	credited := int64(0)
	g.p.ledger.Collect(time.Now(), func(_ int64, k ledger.Key, s *ledger.Sums) {
		if credited += s.Cached; len(k.Model) > maxModelName {
			t.Errorf("a model of %d bytes", len(k.Model))
		}
	})
	if credited != 1 {
		t.Errorf("%d answers credited", credited)
	}
}
