package main

import (
	"fmt"
	"testing"
	"time"
)

// The optimizer knows of a route's cache, says why it leaves it as it is, and what an operator pins of it holds at once, for what is kept already.
func TestE2E_CacheIsTuned(t *testing.T) {
	t.Parallel()
	const route = "\n[[routes]]\nname = \"faq\"\nmatch = { model = [\"gpt-4o\"] }\ntargets = [{ name = \"a\", provider = \"openai\" }]\n"
	g, _, _ := cachedSim(t, cacheOn+route, "ttft=1ms,tokens=20")
	body := fmt.Sprintf(cachedBody, "a", false)
	if r := askAs(t, g, "ann", body); r.cache() != "miss" {
		t.Fatalf("first: %s %s", r.cache(), r.text)
	}
	g.eventually("stored", func() bool { return g.metric(`llmopt_cache_stored_total{route="faq"}`) == 1 })
	if r := askAs(t, g, "ann", body); r.cache() != "hit" {
		t.Fatalf("again: %s", r.cache())
	}
	want(t, "run", g.cli(0, "optimizer", "run"), `faq stays as it is: too few requests have come whose answers can be kept`)
	want(t, "modes", g.cli(0, "optimizer"), `faq +budget recommend, caching recommend, .* nothing`)
	want(t, "pin", g.cli(0, "optimizer", "pin", "faq", "cache_ttl/light", "0.1", "--by=ann"), `faq: ann pinned cache_ttl/light to 0.1 for 1d`)
	want(t, "pinned", g.cli(0, "optimizer"), `cache_ttl/light 1h → 100ms`)
	g.eventually("what is kept is too old", func() bool {
		<-time.After(150 * time.Millisecond) // longer than it is kept: asked more often it may be fetched anew before
		return askAs(t, g, "ann", body).cache() == "miss"
	})
	want(t, "a time of 0", g.cli(1, "optimizer", "pin", "faq", "cache_ttl/light", "0", "--by=ann"), `want a number of seconds above 0`)
	g.eventually("ghosts and comparisons are told", func() bool {
		return g.metric(`llmopt_cache_revalidations_total{route="faq",class="light",result="same"}`)+
			g.metric(`llmopt_cache_revalidations_total{route="faq",class="light",result="changed"}`) > 0
	})
	want(t, "reset", g.cli(0, "optimizer", "reset", "faq"), `faq: .* put the route back`)
	g.eventually("and is kept for an hour again", func() bool { return askAs(t, g, "ann", body).cache() == "hit" })
}
