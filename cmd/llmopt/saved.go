package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"llm-auto-optimizer/optimizer/control"
	"llm-auto-optimizer/optimizer/state"
	"llm-auto-optimizer/proxy/ledger"
)

// savedLate is how long ago an hour has to be over before nothing is added to it any more: totals wait in memory while the disk takes none.
const savedLate = 25

// saver adds up what the caches have saved: by the stored totals, so that it outlives the process, else since the start. It is safe for concurrent use.
type saver struct {
	g     *gateway
	began time.Time

	mu    sync.Mutex
	hours map[int64]map[string]ledger.Sums // by route; of hours in which something was saved
	read  int64                            // hours before this one are known for good; 0: none are
}

// saved is what the caches have saved; see docs/cache.md.
type saved struct {
	Cache   cacheSaved  `json:"cache"`
	Prompts promptSaved `json:"prompt_cache"`
	Missing string      `json:"caches_missing,omitempty"` // why it is not known
}

// cacheSaved is what the cache of answers has saved.
type cacheSaved struct {
	From *time.Time `json:"from,omitempty"` // of the hour in which that began
	cacheAmounts
	Routes []cacheRouteSaved `json:"routes"`
}

type cacheRouteSaved struct {
	Route string `json:"route"`
	cacheAmounts
}

type cacheAmounts struct {
	Answers int64   `json:"answers"`         // for which no provider was called
	Worth   int64   `json:"answers_nanousd"` // what these had cost
	Refresh int64   `json:"refresh_nanousd"` // what it cost to fetch answers anew in the background
	Saved   int64   `json:"saved_nanousd"`   // the one less the other
	Sooner  float64 `json:"saved_s"`         // time that the answers came sooner than they had
}

// promptSaved is what marking prompts for the providers' caches has saved.
type promptSaved struct {
	From *time.Time `json:"from,omitempty"`
	promptAmounts
	Routes []promptRouteSaved `json:"routes"`
}

type promptRouteSaved struct {
	Route string `json:"route"`
	promptAmounts
}

type promptAmounts struct {
	Marked   int64 `json:"marked"`   // attempts
	Unmarked int64 `json:"unmarked"` // left so, to be compared with
	Saved    int64 `json:"saved_nanousd"`
}

// since tells what was saved since a time, the hour of which counts whole; the zero time: all that is known.
func (v *saver) since(ctx context.Context, since time.Time) control.Saved {
	from, by, err := v.sums(ctx, time.Now(), since)
	s := savedBy(from, by)
	if err != nil {
		s.Missing = err.Error()
	}
	return s
}

// savedFrom is when the first of what is told was saved: by kept answers, and by marked prompts.
type savedFrom struct{ cache, prompts time.Time }

// note takes in that something was saved in an hour.
func (f *savedFrom) note(hour int64, s *ledger.Sums) {
	at := time.Unix(hour*3600, 0).UTC()
	earlier := func(t *time.Time, some bool) {
		if some && (t.IsZero() || at.Before(*t)) {
			*t = at
		}
	}
	earlier(&f.cache, s.Cached != 0 || s.RefreshNanoUSD != 0)
	earlier(&f.prompts, s.Marked+s.Unmarked > 0)
}

func (v *saver) sums(ctx context.Context, now, since time.Time) (from savedFrom, by map[string]ledger.Sums, err error) {
	by = map[string]ledger.Sums{}
	if v.g.durable == nil {
		v.sinceStart(by)
		return savedFrom{v.began, v.began}, by, nil
	}
	hours, err := v.stored(ctx, now)
	for hour, routes := range hours {
		if hour < since.Unix()/3600 {
			continue
		}
		for route, s := range routes {
			from.note(hour, &s)
			sum := by[route]
			sum.Add(&s)
			by[route] = sum
		}
	}
	return from, by, err
}

// sinceStart is what the proxy itself knows, where nothing is stored.
func (v *saver) sinceStart(by map[string]ledger.Sums) {
	for _, u := range v.g.proxy.CacheUse() {
		by[u.Route] = ledger.Sums{
			Cached:       int64(u.Results["hit"] + u.Results["updating"] + u.Results["coalesced"]), //nolint:gosec // counts
			SavedNanoUSD: int64(u.Saved), SavedNanos: int64(u.Sooner), RefreshNanoUSD: int64(u.Spent),
		}
	}
	for _, u := range v.g.proxy.PromptUse() {
		s := by[u.Route]
		s.Marked, s.Unmarked, s.MarkedNanoUSD, s.UnmarkedNanoUSD = u.Marked, u.Unmarked, int64(u.MarkedSaved), int64(u.UnmarkedSaved)
		by[u.Route] = s
	}
}

var errSavedUnread = errors.New("what is stored can't be read now")

// stored are the sums by hour and route. Only hours to which something may have been added are read anew.
func (v *saver) stored(ctx context.Context, now time.Time) (map[int64]map[string]ledger.Sums, error) {
	hour := now.Unix() / 3600
	v.mu.Lock()
	known, read := v.hours, v.read
	v.mu.Unlock()
	d := v.g.durable
	if d.store.Health() != nil {
		return known, errSavedUnread
	}
	d.keeper.Flush(ctx) // else the last second is missing
	oldest := hour - int64(v.g.reload.current.Load().Storage.Retention.Totals/time.Hour)
	from := max(oldest, read, 0)
	hours := map[int64]map[string]ledger.Sums{}
	for at, routes := range known {
		if at >= oldest && at < from {
			hours[at] = routes
		}
	}
	err := d.store.Totals(ctx, from, hour+1, func(t state.Total) error {
		var k ledger.Key
		var s ledger.Sums
		if k.UnmarshalBinary(t.Key) != nil || s.UnmarshalBinary(t.Data) != nil {
			return nil // the keeper has said so
		}
		s = s.Savings()
		if s == (ledger.Sums{}) {
			return nil
		}
		if hours[t.Hour] == nil {
			hours[t.Hour] = map[string]ledger.Sums{}
		}
		sum := hours[t.Hour][k.Route]
		sum.Add(&s)
		hours[t.Hour][k.Route] = sum
		return nil
	})
	if err != nil {
		return known, fmt.Errorf("%w: %w", errSavedUnread, err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.hours, v.read = hours, hour-savedLate
	return hours, nil
}

// forget has everything read anew, where what is stored was replaced.
func (v *saver) forget() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.hours, v.read = nil, 0
}

func savedBy(from savedFrom, by map[string]ledger.Sums) *saved {
	s := &saved{Cache: cacheSaved{Routes: []cacheRouteSaved{}}, Prompts: promptSaved{Routes: []promptRouteSaved{}}}
	for _, route := range slices.Sorted(maps.Keys(by)) {
		sum := by[route]
		if sum.Cached != 0 || sum.RefreshNanoUSD != 0 {
			a := cacheAmounts{
				Answers: sum.Cached, Worth: sum.SavedNanoUSD, Refresh: sum.RefreshNanoUSD, Saved: sum.SavedNanoUSD - sum.RefreshNanoUSD,
				Sooner: time.Duration(sum.SavedNanos).Seconds(),
			}
			s.Cache.Routes, s.Cache.From = append(s.Cache.Routes, cacheRouteSaved{route, a}), &from.cache
			all := &s.Cache.cacheAmounts
			*all = cacheAmounts{all.Answers + a.Answers, all.Worth + a.Worth, all.Refresh + a.Refresh, all.Saved + a.Saved, all.Sooner + a.Sooner}
		}
		if sum.Marked+sum.Unmarked > 0 {
			a := promptAmounts{sum.Marked, sum.Unmarked, savedByMarks(&sum)}
			s.Prompts.Routes, s.Prompts.From = append(s.Prompts.Routes, promptRouteSaved{route, a}), &from.prompts
			all := &s.Prompts.promptAmounts
			*all = promptAmounts{all.Marked + a.Marked, all.Unmarked + a.Unmarked, all.Saved + a.Saved}
		}
	}
	return s
}

// savedByMarks is what the marked attempts have saved beyond what they would have unmarked, as those show that were left so.
func savedByMarks(s *ledger.Sums) int64 {
	if s.Unmarked == 0 {
		return s.MarkedNanoUSD
	}
	return s.MarkedNanoUSD - int64(float64(s.UnmarkedNanoUSD)*float64(s.Marked)/float64(s.Unmarked))
}
