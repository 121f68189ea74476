package main

import (
	"testing"
	"time"

	"llm-auto-optimizer/proxy/ledger"
)

// Each kind of saving is told since the first hour in which there was any of it.
func TestSavedFrom(t *testing.T) {
	t.Parallel()
	var from savedFrom
	from.note(20, &ledger.Sums{Cached: 1})
	from.note(10, &ledger.Sums{RefreshNanoUSD: 5})
	from.note(40, &ledger.Sums{Marked: 1})
	from.note(30, &ledger.Sums{Unmarked: 1, Cached: 1})
	from.note(5, &ledger.Sums{Attempts: 1})
	if want := (savedFrom{time.Unix(10*3600, 0).UTC(), time.Unix(30*3600, 0).UTC()}); from != want {
		t.Errorf("%v, want %v", from, want)
	}
	s := savedBy(from, map[string]ledger.Sums{"r": {Cached: 1, Marked: 1}})
	if !s.Cache.From.Equal(from.cache) || !s.Prompts.From.Equal(from.prompts) {
		t.Errorf("cache since %v, prompts since %v", s.Cache.From, s.Prompts.From)
	}
}
