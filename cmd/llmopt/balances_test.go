package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"llm-auto-optimizer/proxy/limit"
	"llm-auto-optimizer/storage"
)

// shelf is a store of values that can fail.
type shelf struct {
	mu            sync.Mutex
	values        map[string]map[string][]byte // by namespace and name
	unreadable    error
	unwritable    error
	large         string // a name under which nothing has room
	puts, dels    int
	engines, lost uint64
}

func (s *shelf) Values(_ context.Context, namespace string, yield func(string, []byte) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(s.values[namespace])) {
		if err := yield(name, s.values[namespace][name]); err != nil {
			return err
		}
	}
	return s.unreadable
}

func (s *shelf) PutValue(_ context.Context, namespace, name string, value []byte, _ time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.unwritable != nil {
		return s.unwritable
	}
	if name == s.large {
		return storage.ErrTooLarge
	}
	if s.values[namespace] == nil {
		s.values[namespace] = map[string][]byte{}
	}
	s.values[namespace][name] = bytes.Clone(value)
	s.puts++
	return nil
}

func (s *shelf) DeleteValue(_ context.Context, namespace, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.unwritable != nil {
		return s.unwritable
	}
	delete(s.values[namespace], name)
	s.dels++
	return nil
}

func (s *shelf) Restarts() (began, aside uint64) { return s.engines, s.lost }

// spending is balances with what they keep and what they say.
type spending struct {
	balances
	*shelf
	now   []limit.Balance // what is spent
	again []limit.Balance // what was restored
	said  bytes.Buffer
}

func newSpending(s *shelf) *spending {
	if s.values == nil {
		s.values = map[string]map[string][]byte{}
	}
	k := &spending{shelf: s}
	k.balances = balances{
		store: s, log: zerolog.New(&k.said),
		collect: func(time.Time) []limit.Balance { return slices.Clone(k.now) },
		restore: func(_ time.Time, all []limit.Balance) int { k.again = append(k.again, all...); return len(all) },
	}
	return k
}

// stored is what stands in the store.
func (k *spending) stored(t *testing.T) (all []limit.Balance) {
	t.Helper()
	for name, value := range k.shelf.values[balancesNamespace] {
		at, err := bucketNumber(name)
		if err == nil {
			var found []limit.Balance
			found, err = parseBucket(at, value)
			all = append(all, found...)
		}
		if err != nil {
			t.Error(err)
		}
	}
	return all
}

func (k *spending) warnings() int { return strings.Count(k.said.String(), `"level":"warn"`) }

// Only what has changed is written, and what is no more is deleted.
func TestBalances_WriteWhatHasChanged(t *testing.T) {
	t.Parallel()
	k := newSpending(&shelf{})
	step := func(what string, puts, dels int) {
		t.Helper()
		k.puts, k.dels = 0, 0
		k.round(t.Context())
		if k.puts != puts || k.dels != dels || len(k.stored(t)) != len(k.now) || k.warnings() != 0 {
			t.Errorf("%s: %d puts and %d deletions, want %d and %d; %d of %d stored; %s", what, k.puts, k.dels, puts, dels, len(k.stored(t)), len(k.now), k.said.String())
		}
	}
	step("nothing", 0, 0)
	k.now = spentBy(2)[:2]
	step("two", 2, 0)
	step("the same", 0, 0)
	slices.Reverse(k.now)
	step("in another order", 0, 0)
	k.now[0].Spent++
	step("one has changed", 1, 0)
	k.now = k.now[:1]
	step("one is over", 0, 1)
	k.lost++
	step("the database is another", 1, balanceBuckets-1)
	k.forget()
	step("a backup was restored", 1, balanceBuckets-1)
	if n := k.balances.written.Load(); n != 516 {
		t.Errorf("counted %d", n)
	}
}

// What was stored comes back once, and nothing is written over it before.
func TestBalances_NothingIsWrittenBeforeItIsRead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		first := newSpending(&shelf{})
		first.now = spentBy(20)
		first.round(t.Context())
		kept := maps.Clone(first.values[balancesNamespace])

		k := newSpending(first.shelf)
		k.unreadable = storage.ErrUnavailable
		k.now = spentBy(1)[:1] // meanwhile
		ctx, drained := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { k.run(ctx) })
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if !maps.EqualFunc(kept, k.values[balancesNamespace], bytes.Equal) || len(k.again) != 0 || k.warnings() != 1 || k.failures.Load() != 10 {
			t.Errorf("while it can't be read: %d values of %d, %d restored, said\n%s", len(k.values[balancesNamespace]), len(kept), len(k.again), k.said.String())
		}
		k.mu.Lock()
		k.unreadable = nil
		k.mu.Unlock()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if len(k.again) != len(first.now) || len(k.stored(t)) != 1 || k.warnings() != 1 {
			t.Errorf("then: %d of %d restored, %d stored, said\n%s", len(k.again), len(first.now), len(k.stored(t)), k.said.String())
		}
		k.now = spentBy(3)[:3]
		drained()
		running.Wait()
		if len(k.stored(t)) != 3 {
			t.Errorf("at the end: %d stored", len(k.stored(t)))
		}
	})
}

// A server that ends before what was stored could be read leaves it as it was.
func TestBalances_UnreadToTheEnd(t *testing.T) {
	t.Parallel()
	first := newSpending(&shelf{})
	first.now = spentBy(20)
	first.round(t.Context())
	k := newSpending(first.shelf)
	k.unreadable = errors.New("broken")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	k.run(ended)
	if len(k.stored(t)) != len(first.now) || k.warnings() != 1 {
		t.Errorf("%d of %d are left: %s", len(k.stored(t)), len(first.now), k.said.String())
	}
}

// What can't be read is kept under another name, and said; the others are restored. It is not written over before it is kept.
func TestBalances_DamageIsSetAside(t *testing.T) {
	t.Parallel()
	s := &shelf{}
	first := newSpending(s)
	first.now = spentBy(2)[:2]
	first.round(t.Context())
	bad := bucketName(bucketOf(&first.now[0]))
	torn := s.values[balancesNamespace][bad][:9]
	s.values[balancesNamespace][bad], s.values[balancesNamespace]["else"] = torn, []byte("?")

	k := newSpending(s)
	k.now = spentBy(1)[:1]
	s.unwritable = storage.ErrFull
	k.round(t.Context())
	if !bytes.Equal(s.values[balancesNamespace][bad], torn) || len(k.again) != 1 || k.again[0].Caller != first.now[1].Caller || k.warnings() != 3 {
		t.Errorf("a full disk: %x, %+v, said\n%s", s.values[balancesNamespace][bad], k.again, k.said.String())
	}
	s.unwritable = nil
	k.round(t.Context())
	if n := len(k.stored(t)); n != 1 || len(k.again) != 1 || !strings.Contains(k.said.String(), "stored again") {
		t.Errorf("%d are stored, %d restored, said\n%s", n, len(k.again), k.said.String())
	}
	found := 0
	for name, value := range s.values[damagedNamespace] {
		if strings.HasPrefix(name, bad+"-") && bytes.Equal(value, torn) || strings.HasPrefix(name, "else-") && string(value) == "?" {
			found++
		}
	}
	if found != 2 || len(s.values[damagedNamespace]) != 2 {
		t.Errorf("set aside: %v", s.values[damagedNamespace])
	}
}

// Trouble is said once until it is over, and counted. A bucket without room keeps none of the others from being stored.
func TestBalances_TroubleIsTold(t *testing.T) {
	t.Parallel()
	k := newSpending(&shelf{})
	k.now = spentBy(50)[:50]
	k.large = bucketName(bucketOf(&k.now[0]))
	for range 3 {
		k.round(t.Context())
	}
	for _, b := range k.stored(t) {
		if bucketName(bucketOf(&b)) == k.large {
			t.Error("what has no room is stored")
		}
	}
	if n := len(k.stored(t)); n < 40 || k.warnings() != 1 || k.failures.Load() != 3 {
		t.Errorf("%d stored, %d failures, said\n%s", n, k.failures.Load(), k.said.String())
	}
	k.large = ""
	k.round(t.Context())
	k.unwritable = storage.ErrUnavailable
	k.now[0].Spent++
	k.round(t.Context())
	if n := len(k.stored(t)); n != 50 || k.warnings() != 2 || k.failures.Load() != 4 {
		t.Errorf("%d stored, %d failures, said\n%s", n, k.failures.Load(), k.said.String())
	}
	var text bytes.Buffer
	k.metrics().WritePrometheus(&text)
	want(t, "metrics", text.String(), `llmopt_limit_balances_errors_total 4`)
}

// Far more than fits into one value is stored: each of 10,000 callers under a rolling budget that was busy all the time.
func TestBalances_ManyFit(t *testing.T) {
	t.Parallel()
	all := make([]limit.Balance, 0, 10_000*60)
	for i := range 10_000 {
		for s := range 60 {
			begin := time.Unix(int64(1_700_000_000-60*s), 123)
			all = append(all, limit.Balance{Rule: "rolling", Caller: limit.Name(fmt.Sprint(i)), Per: limit.Hour, Rolling: true, Begin: begin, End: begin.Add(time.Minute), Spent: 1_000_000_000 + int64(i)})
		}
	}
	var b balances
	largest := 0
	for _, value := range b.encode(all) {
		largest = max(largest, len(value))
	}
	if largest > 100<<10 { // a tenth of what a value may have
		t.Errorf("%d bytes in a bucket", largest)
	}
	t.Logf("%d balances: %d bytes, %d in the largest bucket", len(all), len(b.text), largest)
}

// BenchmarkBalances_Round is what is done each second. The demand for 10,000 callers of whom one in a hundred has changed: 50 ms.
func BenchmarkBalances_Round(b *testing.B) {
	for _, n := range []int{100, 10_000} {
		for _, rolling := range []bool{false, true} {
			b.Run(fmt.Sprintf("callers=%d/rolling=%t", n, rolling), func(b *testing.B) {
				s, err := storage.OpenDir(b.TempDir(), storage.Limits{})
				if err != nil {
					b.Fatal(err)
				}
				defer func() { _ = s.Close() }()
				set := limit.New(time.Now(), limit.Options{})
				l := limit.Limit{Of: limit.Spend, Per: limit.Month, Most: 1e12, Rolling: rolling}
				if err := set.Configure(time.Now(), []limit.Rule{{Name: "each", Caller: limit.Scope{Each: true}, Limits: []limit.Limit{l}}}); err != nil {
					b.Fatal(err)
				}
				spend := func(caller int) {
					q := limit.Request{Caller: limit.Name(fmt.Sprint("caller ", caller)), Cost: 1000}
					lease, refusal := set.Reserve(time.Now(), &q)
					if refusal.Refused() {
						b.Fatal("refused")
					}
					set.Settle(time.Now(), lease, limit.Usage{Cost: 1000})
				}
				for i := range n {
					spend(i)
				}
				k := balances{store: s, log: zerolog.Nop(), collect: func(now time.Time) []limit.Balance { return set.Balances(nil, now) }, restore: set.Restore}
				k.round(b.Context())
				b.ReportAllocs()
				at, before := 0, processCPU()
				for b.Loop() {
					for range max(n/100, 1) {
						at = (at + 1) % n
						spend(at)
					}
					k.round(b.Context())
				}
				b.ReportMetric(float64((processCPU()-before).Nanoseconds())/float64(b.N), "cpu-ns/op")
				b.ReportMetric(float64(k.written.Load())/float64(b.N+1), "writes/op")
			})
		}
	}
}

// BenchmarkBalances_Busy is collecting the rolling balances of callers who have spent all the time, in all stretches of their windows.
func BenchmarkBalances_Busy(b *testing.B) {
	const callers = 9000
	now := time.Now()
	set := limit.New(now, limit.Options{})
	l := limit.Limit{Of: limit.Spend, Per: limit.Hour, Most: 1e15, Rolling: true}
	if err := set.Configure(now, []limit.Rule{{Name: "each", Caller: limit.Scope{Each: true}, Limits: []limit.Limit{l}}}); err != nil {
		b.Fatal(err)
	}
	for at := now.Add(-time.Hour); at.Before(now); at = at.Add(30 * time.Second) {
		for i := range callers {
			q := limit.Request{Caller: limit.Name(fmt.Sprint("caller ", i)), Cost: 1000}
			lease, refusal := set.Reserve(at, &q)
			if refusal.Refused() {
				b.Fatal("refused")
			}
			set.Settle(at, lease, limit.Usage{Cost: 1000})
		}
	}
	k := balances{collect: func(now time.Time) []limit.Balance { return set.Balances(nil, now) }}
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		n = 0
		for _, value := range k.encode(k.collect(now)) {
			n += len(value)
		}
	}
	b.ReportMetric(float64(n), "bytes")
}

// A budget that was used up before a restart refuses the first request after it, and others that stand before it in the file change nothing of that.
func TestE2E_BudgetsHoldFromTheFirstRequest(t *testing.T) {
	t.Parallel()
	environ := []string{"OPTIMIZER_STORAGE__DIR=" + t.TempDir(), "OPTIMIZER_STORAGE__MIN_FREE=0B", "OPTIMIZER_SERVER__HASH_KEY=key"}
	const settings = "[admission]\nmax_wait = \"0s\"\n[callers.a]\nheader = { x-team = \"a\" }\n[callers.b]\nheader = { x-team = \"b\" }\n"
	budget := func(caller string) string {
		return fmt.Sprintf("[[limits]]\ncaller = %q\nusd_per_month = \"$0.0003\"\n", caller)
	}
	g, up, file := limitedSim(t, settings+budget("a"), "ttft=1ms,tokens=20", environ...)
	ask := func(caller string, want int) {
		t.Helper()
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, g.url+"/v1/chat/completions", strings.NewReader(chatText(0)))
		req.Header.Set("x-team", caller)
		req.Header.Set("Authorization", "Bearer k")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: %d, want %d", caller, resp.StatusCode, want)
		}
	}
	ask("a", http.StatusOK)
	g.eventually("settled", func() bool { return g.metric("llmopt_limit_leases") == 0 })
	ask("a", http.StatusTooManyRequests)
	g.stop()

	file.replace(settings + budget("b") + budget("a"))
	g = serveFile(t, file.path, up.url, environ...)
	ask("a", http.StatusTooManyRequests)
	ask("b", http.StatusOK)
	if n := g.metric("llmopt_limit_balances_errors_total"); n != 0 {
		t.Errorf("%v rounds have failed", n)
	}
	g.eventually("stored", func() bool { return g.metric("llmopt_limit_balances_stored_total") > 0 })
}
