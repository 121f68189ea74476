package config

import (
	"testing"
	"time"
)

func TestLoad_Routes(t *testing.T) {
	t.Parallel()
	c, err := load("testdata/routes.good.toml", "K1=s3cret1")
	if err != nil {
		t.Fatal(err)
	}
	routes := c.RouteList()
	if len(routes) != 2 || routes[0].Name != "chat" || routes[1].Name != "another" {
		t.Fatalf("routes %+v", routes)
	}
	chat := routes[0]
	if chat.Objective.TTFTp95 != 2*time.Second || chat.Objective.ErrorRate != .01 || chat.Objective.MaxCost() != 2e9 || chat.Objective.Quality != .9 {
		t.Errorf("objective %+v", chat.Objective)
	}
	if chat.Attempts != 3 || chat.Ejection.FalseIn != 21_600_000 || len(chat.Match.Model) != 2 || chat.Fallback.Error[0] != "backup" {
		t.Errorf("route %+v", chat)
	}
	targets := chat.TargetList()
	if len(targets) != 2 || targets[0].Name != "z-first" || targets[0].Weight != .8 || targets[0].Key.Reveal() != "s3cret1" || targets[1].Weight != 0 {
		t.Errorf("targets %+v", targets)
	}
	if got := routes[1].Match.Header["x-team"]; got != "a*" {
		t.Errorf("header %q", got)
	}
	if only := routes[1].Targets["only"]; only.Weight != 1 || only.Provider != "openai" {
		t.Errorf("target %+v", only)
	}
}

func TestTargetPrice_Override(t *testing.T) {
	t.Parallel()
	table, err := EmbeddedPrices()
	if err != nil {
		t.Fatal(err)
	}
	listed, ok := table.Lookup("openai", []byte("gpt-4o-mini"))
	if !ok {
		t.Fatal("no listed price")
	}
	base := listed.Rates(Standard, 100)
	check := func(p TargetPrice, list *Price, want func(Rates) bool) {
		t.Helper()
		o := p.Override(list)
		if o == nil {
			t.Fatalf("%+v: no price", p)
		}
		if r := o.Rates(Standard, 100); !want(r) {
			t.Errorf("%+v: %+v", p, r)
		}
	}
	check(TargetPrice{Input: "$0.25"}, listed, func(r Rates) bool {
		return r.Input == 250_000 && r.Output == base.Output && r.CacheRead == base.CacheRead
	})
	check(TargetPrice{Input: "$0.25", Output: "2", CacheRead: "$0.1"}, nil, func(r Rates) bool {
		return r.Input == 250_000 && r.Output == 2_000_000 && r.CacheRead == 100_000 && r.Reasoning == 2_000_000
	})
	for _, p := range []TargetPrice{{}, {Input: "$1"}} {
		if p.Override(nil) != nil {
			t.Errorf("%+v gives a price", p)
		}
	}
}
