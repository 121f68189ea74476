package main

import (
	"reflect"
	"testing"
	"time"

	"llm-auto-optimizer/config"
	"llm-auto-optimizer/optimizer"
)

// Limits in dollars for all callers are foretold as budgets are; of what single callers spend, and of what rolls, nothing is.
func TestAnalyst_ForetellsLimits(t *testing.T) {
	t.Parallel()
	file := newSettingsFile(t, `
[budget]
amount = "$100"
period = "week"
[callers.ann]
header = { "x-team" = "ann" }
[[routes]]
name = "chat"
match = { model = ["m"] }
targets = [{ name = "a", provider = "openai" }]
[[limits]]
name = "all"
usd_per_day = "$5"
usd_per_month = "$90"
timezone = "Europe/Paris"
[[limits]]
name = "chat"
route = "chat"
usd_per_day = "$3"
requests_per_minute = 10
[[limits]]
name = "ann"
caller = "ann"
usd_per_day = "$1"
[[limits]]
name = "rolls"
usd_per_day = "$1"
rolling = true
[[limits]]
name = "watched"
usd_per_day = "$1"
observe = true
[[limits]]
name = "hourly"
usd_per_hour = "$1"
`)
	c, err := config.Load(config.Options{File: file.path})
	if err != nil {
		t.Fatal(err)
	}
	paris, err := time.LoadLocation("Europe/Paris")
	if err != nil {
		t.Fatal(err)
	}
	got := (*analyst)(nil).terms(c)
	for key, terms := range got { // all of UTC are alike
		if terms.Zone.String() == "UTC" {
			terms.Zone = time.UTC
			got[key] = terms
		}
	}
	want := map[string]optimizer.BudgetTerms{
		"budget":          {Dollars: 100, Period: optimizer.Week, Zone: time.UTC},
		"limit/all/day":   {Limit: "all", Dollars: 5, Period: optimizer.Day, Zone: paris},
		"limit/all/month": {Limit: "all", Dollars: 90, Period: optimizer.Month, Zone: paris},
		"limit/chat/day":  {Name: "chat", Limit: "chat", Dollars: 3, Period: optimizer.Day, Zone: time.UTC},
	}
	for key := range want {
		g, w := got[key], want[key]
		if g.Zone == nil || g.Zone.String() != w.Zone.String() {
			t.Errorf("%s: %+v, want %+v", key, g, w)
		}
		g.Zone = w.Zone
		got[key] = g
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("\n got %+v\nwant %+v", got, want)
	}
}
