// Package ledger sums what attempts used and cost, and what the caches saved, exactly, by who and what caused it and by the hour. The request path adds; once a
// second a collector takes what came in, adds it to the hour's sums and hands those on to be stored.
package ledger

import (
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Other stands for the callers beyond the number that is kept apart.
const Other = "other"

// Key says whom a sum belongs to. Without a provider it is of answers that none was asked for; their model is as the client named it.
type Key struct{ Provider, Model, Route, Caller string }

// Sums are what attempts used and cost together, and what was saved.
type Sums struct {
	Attempts, Errors                                int64 // errors: attempts that neither ended well nor were canceled by the client
	Input, CacheRead, CacheWrite, Output, Reasoning int64 // tokens; Input is uncached, Reasoning is part of Output
	CostNanoUSD                                     int64
	Estimated, Unpriced                             int64 // attempts

	Cached                         int64 // answers for which no provider was called, since they were kept or under way; no attempts
	SavedNanoUSD, SavedNanos       int64 // what they had cost, and how much sooner they came than they had
	RefreshNanoUSD                 int64 // part of the cost: of fetching answers anew that no client waited for
	Marked, Unmarked               int64 // attempts whose prompt was marked for the provider's cache, and those left unmarked to be compared with
	MarkedNanoUSD, UnmarkedNanoUSD int64 // what they cost less than they would have without that cache; below 0: more
}

// fields lists the sums in the order in which they are stored.
func (s *Sums) fields() [sumsEnd]*int64 {
	return [sumsEnd]*int64{
		&s.Attempts, &s.Errors, &s.Input, &s.CacheRead, &s.CacheWrite, &s.Output, &s.Reasoning, &s.CostNanoUSD, &s.Estimated, &s.Unpriced,
		&s.Cached, &s.SavedNanoUSD, &s.SavedNanos, &s.RefreshNanoUSD, &s.Marked, &s.Unmarked, &s.MarkedNanoUSD, &s.UnmarkedNanoUSD,
	}
}

const sumsEnd = 18

// Add adds o.
func (s *Sums) Add(o *Sums) {
	to, from := s.fields(), o.fields()
	for i := range to {
		*to[i] += *from[i]
	}
}

// Savings are those of the sums that tell what was saved.
func (s *Sums) Savings() Sums {
	return Sums{
		Cached: s.Cached, SavedNanoUSD: s.SavedNanoUSD, SavedNanos: s.SavedNanos, RefreshNanoUSD: s.RefreshNanoUSD,
		Marked: s.Marked, Unmarked: s.Unmarked, MarkedNanoUSD: s.MarkedNanoUSD, UnmarkedNanoUSD: s.UnmarkedNanoUSD,
	}
}

// Account takes the sums of one key. Add is safe for concurrent use.
type Account struct {
	key  Key
	news [sumsEnd]atomic.Int64 // since it was last collected

	// The collector's own:
	hour  int64
	sums  Sums // of hour
	dirty bool // they have changed otherwise than by news
}

// Add adds what one attempt, or several, used. It takes no lock and allocates nothing.
func (a *Account) Add(s *Sums) {
	for i, v := range s.fields() {
		if *v != 0 {
			a.news[i].Add(*v)
		}
	}
}

// Ledger holds the accounts. It is safe for concurrent use; Collect and Restore are for one goroutine at a time.
type Ledger struct {
	max int

	mu       sync.Mutex
	accounts map[Key]*Account
	retired  []*Account // collected once more, since somebody may just have found them
	era      atomic.Uint64

	collecting sync.Mutex
	hour       int64 // of the last collection
}

// New returns a ledger for at most limit accounts that had anything in this hour or the last; further callers share one account for
// each provider, model and route, and without a provider, where clients say what the model is, for each route.
func New(limit int) *Ledger {
	return &Ledger{max: limit, accounts: map[Key]*Account{}}
}

// Era changes when accounts are retired: an account that was found in an earlier era must not be used any more.
func (l *Ledger) Era() uint64 { return l.era.Load() }

// Account returns the account of k, and makes it at first sight. Keep it, with the era from before the call, instead of asking for each
// attempt: it takes a lock. k is copied if it is kept, so its strings may alias a buffer that is used again.
func (l *Ledger) Account(k Key) *Account {
	l.mu.Lock()
	defer l.mu.Unlock()
	if a := l.accounts[k]; a != nil {
		return a
	}
	if len(l.accounts) >= l.max {
		k.Caller = Other
		if k.Provider == "" {
			k.Model = Other
		}
		if a := l.accounts[k]; a != nil {
			return a
		}
	}
	k = Key{strings.Clone(k.Provider), strings.Clone(k.Model), strings.Clone(k.Route), strings.Clone(k.Caller)}
	a := &Account{key: k}
	l.accounts[k] = a
	return a
}

// Len returns the number of accounts.
func (l *Ledger) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.accounts)
}

// Collect gives the sums that have changed since the last collection, whole as they stand for the hour of now. An attempt counts in the
// hour in which it is collected.
func (l *Ledger) Collect(now time.Time, yield func(hour int64, k Key, s *Sums)) {
	l.collecting.Lock()
	defer l.collecting.Unlock()
	hour := now.Unix() / 3600
	for _, a := range l.turn(hour) {
		var news Sums
		changed := false
		for i, to := range news.fields() {
			if *to = a.take(i); *to != 0 {
				changed = true
			}
		}
		if !changed && !(a.dirty && a.hour == hour) {
			continue
		}
		a.dirty = false
		if a.hour != hour {
			a.hour, a.sums = hour, Sums{}
		}
		a.sums.Add(&news)
		yield(hour, a.key, &a.sums)
	}
}

func (a *Account) take(i int) int64 {
	if a.news[i].Load() == 0 {
		return 0
	}
	return a.news[i].Swap(0)
}

// turn returns what is to be collected. In a new hour it retires the accounts that had nothing since the one before the last.
func (l *Ledger) turn(hour int64) []*Account {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]*Account, 0, len(l.accounts)+len(l.retired))
	all = append(all, l.retired...)
	for _, a := range l.accounts {
		all = append(all, a)
	}
	if hour == l.hour {
		return all
	}
	l.hour, l.retired = hour, nil
	for k, a := range l.accounts {
		if a.hour != 0 && a.hour < hour-1 {
			delete(l.accounts, k)
			l.retired = append(l.retired, a)
		}
	}
	if len(l.retired) > 0 {
		l.era.Add(1)
	}
	return all
}

// Restore adds what is already stored of an hour, which counts when that hour is the present one.
func (l *Ledger) Restore(now time.Time, hour int64, k Key, s *Sums) {
	l.collecting.Lock()
	defer l.collecting.Unlock()
	if hour != now.Unix()/3600 {
		return
	}
	a := l.Account(k)
	if a.key != k {
		return // past the limit: the stored sum stays as it is, under its own key
	}
	if a.hour != hour {
		a.hour, a.sums = hour, Sums{}
	}
	a.dirty = a.sums != Sums{} // what was collected before lacked what is added now
	a.sums.Add(s)
}
