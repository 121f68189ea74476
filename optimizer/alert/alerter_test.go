package alert

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"llm-auto-optimizer/config"
)

// post is a request that a stand took.
type post struct {
	at     time.Duration
	header http.Header
	text   string
	body
}

// stand takes requests in virtual time, and answers as it is told to.
type stand struct {
	begun  time.Time
	answer func(try int) (status int, header http.Header, err error) // nil: 200

	mu    sync.Mutex
	posts []post
}

func (s *stand) RoundTrip(r *http.Request) (*http.Response, error) {
	text, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	p := post{at: time.Since(s.begun), header: r.Header, text: string(text)}
	if err := json.Unmarshal(text, &p.body); err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.posts = append(s.posts, p)
	n := len(s.posts)
	s.mu.Unlock()
	status, header := http.StatusOK, http.Header{}
	if s.answer != nil {
		if status, header, err = s.answer(n); err != nil {
			return nil, err
		}
	}
	return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader("ok")), Request: r}, nil
}

// tries is how often something was posted.
func (s *stand) tries() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.posts)
}

// told are the messages so far as "seconds status key severity".
func (s *stand) told() (all []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.posts {
		all = append(all, fmt.Sprintf("%.0f %s %s %s", p.at.Seconds(), p.Status, p.Key, p.Severity))
	}
	return all
}

const secretURL = "https://hooks.example/services/T0/s3cret"

// options are those of tests: one webhook, which the stand takes the place of.
func (s *stand) options() Options {
	s.begun = time.Now()
	return Options{
		Repeat: time.Hour, Timeout: 10 * time.Second, GiveUp: 30 * time.Minute, Queue: 10, Instance: "here", transport: s,
		Webhooks: []Webhook{{Name: "ops", URL: config.NewSecret(secretURL), MinSeverity: Info}},
	}
}

// play runs a test with an alerter in virtual time.
func play(t *testing.T, s *stand, change func(o *Options), f func(t *testing.T, a *Alerter)) (log string) {
	t.Helper()
	var out bytes.Buffer
	synctest.Test(t, func(t *testing.T) {
		o := s.options()
		if change != nil {
			change(&o)
		}
		a := New(o, zerolog.New(zerolog.SyncWriter(&out)))
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { a.Run(ctx); close(done) }()
		f(t, a)
		stop()
		<-done
	})
	return out.String()
}

func equal(t *testing.T, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// metric is the value of a line of the metrics.
func metric(t *testing.T, a *Alerter, line string) string {
	t.Helper()
	var out bytes.Buffer
	a.Metrics().WritePrometheus(&out)
	_, rest, ok := strings.Cut(out.String(), line+" ")
	if !ok {
		t.Fatalf("no %s in\n%s", line, out.String())
	}
	value, _, _ := strings.Cut(rest, "\n")
	return value
}

func TestAlerter_TellsOnceAndThatItIsOver(t *testing.T) {
	t.Parallel()
	s := &stand{}
	play(t, s, nil, func(t *testing.T, a *Alerter) {
		for range 30 { // five minutes
			a.Raise(Alert{Key: "k", Severity: Warning, Title: "trouble"})
			time.Sleep(10 * time.Second)
		}
		a.Resolve("k")
		a.Resolve("k")
		a.Resolve("unknown")
		time.Sleep(10 * time.Second)
		if got := metric(t, a, "llmopt_alerts_suppressed_total"); got != "29" {
			t.Errorf("suppressed %s", got)
		}
		if got := metric(t, a, `llmopt_alerts_total{webhook="ops",result="delivered"}`); got != "2" {
			t.Errorf("delivered %s", got)
		}
	})
	equal(t, s.told(), []string{"0 firing k warning", "300 resolved k warning"})
	if p := s.posts[1]; p.Raised != 30 || p.At.Sub(p.Since) != 5*time.Minute || p.Title != "trouble" || p.Instance != "here" {
		t.Errorf("%+v", p)
	}
}

func TestAlerter_TellsAgain(t *testing.T) {
	t.Parallel()
	s := &stand{}
	play(t, s, nil, func(t *testing.T, a *Alerter) {
		a.Raise(Alert{Key: "goes on", Severity: Info})
		time.Sleep(2 * time.Minute)
		a.Raise(Alert{Key: "goes on", Severity: Critical}) // it gets worse: at 120 s
		time.Sleep(2 * time.Minute)
		a.Raise(Alert{Key: "goes on", Severity: Warning}) // and better
		if got := metric(t, a, `llmopt_alerts_open{severity="warning"}`); got != "1" {
			t.Errorf("open %s", got)
		}
		time.Sleep(2*time.Hour - 4*time.Minute) // an hour after it got worse
		a.Resolve("goes on")
		time.Sleep(time.Minute)
	})
	equal(t, s.told(), []string{"0 firing goes on info", "120 firing goes on critical", "3720 firing goes on warning", "7200 resolved goes on critical"})
}

// What comes and goes is not told each time, but what comes back to stay is.
func TestAlerter_Flapping(t *testing.T) {
	t.Parallel()
	s := &stand{}
	play(t, s, nil, func(t *testing.T, a *Alerter) {
		for range 10 {
			a.Raise(Alert{Key: "k", Severity: Warning})
			time.Sleep(time.Minute)
			a.Resolve("k")
			time.Sleep(time.Minute)
		}
		a.Raise(Alert{Key: "k", Severity: Warning}) // at 1200 s
		time.Sleep(15 * time.Minute)
		a.Resolve("k")
		time.Sleep(2 * time.Hour)
		a.Raise(Alert{Key: "k", Severity: Warning})
		time.Sleep(time.Minute)
	})
	equal(t, s.told(), []string{"0 firing k warning", "60 resolved k warning", "1800 firing k warning", "2100 resolved k warning", "9300 firing k warning"})
}

func TestAlerter_Events(t *testing.T) {
	t.Parallel()
	s := &stand{}
	play(t, s, nil, func(t *testing.T, a *Alerter) {
		e := Alert{Key: "rolled back", Severity: Warning, Event: true}
		a.Raise(e)
		a.Raise(e)
		a.Resolve(e.Key)
		time.Sleep(30 * time.Minute)
		a.Raise(e)
		if got := metric(t, a, `llmopt_alerts_open{severity="warning"}`); got != "0" {
			t.Errorf("open %s", got)
		}
		time.Sleep(time.Hour)
		a.Raise(e)
		time.Sleep(time.Minute)
	})
	equal(t, s.told(), []string{"0 event rolled back warning", "5400 event rolled back warning"})
}

func TestAlerter_SeverityOfAWebhook(t *testing.T) {
	t.Parallel()
	s := &stand{}
	play(t, s, func(o *Options) { o.Webhooks[0].MinSeverity = Critical }, func(_ *testing.T, a *Alerter) {
		a.Raise(Alert{Key: "mild", Severity: Warning})
		a.Resolve("mild")
		a.Raise(Alert{Key: "bad", Severity: Critical})
		time.Sleep(time.Minute)
		a.Raise(Alert{Key: "bad", Severity: Info})
		a.Resolve("bad")
		time.Sleep(time.Minute)
	})
	equal(t, s.told(), []string{"0 firing bad critical", "60 resolved bad critical"})
}

// A webhook that does not answer costs its oldest alerts, and nobody's time.
func TestAlerter_FullQueue(t *testing.T) {
	t.Parallel()
	s := &stand{}
	s.answer = func(int) (int, http.Header, error) {
		if time.Since(s.begun) < time.Minute {
			return 0, nil, errors.New("connection refused")
		}
		return http.StatusNoContent, nil, nil
	}
	play(t, s, func(o *Options) { o.Queue = 3 }, func(t *testing.T, a *Alerter) {
		for i := range 10 {
			a.Raise(Alert{Key: fmt.Sprint(i), Severity: Warning})
			synctest.Wait() // the first is under way
		}
		if d := time.Since(s.begun); d != 0 {
			t.Errorf("took %v", d)
		}
		if got := metric(t, a, `llmopt_alerts_pending{webhook="ops"}`); got != "4" {
			t.Errorf("pending %s", got)
		}
		time.Sleep(10 * time.Minute)
		if got := metric(t, a, `llmopt_alerts_total{webhook="ops",result="dropped"}`); got != "6" {
			t.Errorf("dropped %s", got)
		}
	})
	var delivered []string
	for _, p := range s.posts {
		if p.at > time.Minute {
			delivered = append(delivered, p.Key)
		}
	}
	equal(t, delivered, []string{"0", "7", "8", "9"})
}

func TestAlerter_TriesAgain(t *testing.T) {
	t.Parallel()
	check := func(what string, answer func(try int) (int, http.Header, error), result string, least, most int, low, high time.Duration) {
		t.Helper()
		s := &stand{answer: answer}
		log := play(t, s, nil, func(t *testing.T, a *Alerter) {
			a.Raise(Alert{Key: "k", Severity: Warning})
			time.Sleep(time.Hour - time.Second)
			if got := metric(t, a, `llmopt_alerts_total{webhook="ops",result="`+result+`"}`); got != "1" {
				t.Errorf("%s: %s %s", what, result, got)
			}
			if got := metric(t, a, `llmopt_alert_retries_total{webhook="ops"}`); got != fmt.Sprint(s.tries()-1) {
				t.Errorf("%s: %s retries of %d tries", what, got, s.tries())
			}
		})
		last := s.posts[len(s.posts)-1]
		if n := len(s.posts); n < least || n > most || last.at < low || last.at > high {
			t.Errorf("%s: %d tries, the last after %v", what, n, last.at)
		}
		if last.ID != s.posts[0].ID || last.text != s.posts[0].text {
			t.Errorf("%s: tries differ", what)
		}
		if strings.Contains(log, "s3cret") || strings.Contains(log, "services") || result == "failed" != strings.Contains(log, "alert was not delivered") {
			t.Errorf("%s: the log says %s", what, log)
		}
	}
	status := func(codes ...int) func(int) (int, http.Header, error) {
		return func(try int) (int, http.Header, error) { return codes[min(try, len(codes))-1], nil, nil }
	}
	check("at once", status(202), "delivered", 1, 1, 0, 0)
	check("at the third try", status(500, 503, 200), "delivered", 3, 3, 1500*time.Millisecond, 3*time.Second)
	check("never", status(502), "failed", 30, 70, 28*time.Minute, 30*time.Minute)
	check("gone", status(404), "failed", 1, 1, 0, 0)
	check("moved", status(307), "failed", 1, 1, 0, 0)
	check("no connection", func(try int) (int, http.Header, error) {
		if try < 4 {
			return 0, nil, errors.New("connection refused")
		}
		return 200, nil, nil
	}, "delivered", 4, 4, 3*time.Second, 8*time.Second)
	after := func(value string) func(int) (int, http.Header, error) {
		return func(try int) (int, http.Header, error) {
			if try == 1 {
				return 429, http.Header{"Retry-After": {value}}, nil
			}
			return 200, nil, nil
		}
	}
	check("asked to wait", after("90"), "delivered", 2, 2, 90*time.Second, 90*time.Second)
	check("asked to wait for too long", after("86400"), "failed", 1, 1, 0, 0)
	check("asked for nonsense", after("soon"), "delivered", 2, 2, 500*time.Millisecond, time.Second)
}

// What waits is delivered to where newer settings say.
func TestAlerter_SetWhileRunning(t *testing.T) {
	t.Parallel()
	s := &stand{}
	s.answer = func(int) (int, http.Header, error) {
		if time.Since(s.begun) < 10*time.Minute {
			return 500, nil, nil
		}
		return 200, nil, nil
	}
	other := &stand{}
	play(t, s, nil, func(t *testing.T, a *Alerter) {
		o := other.options()
		a.Raise(Alert{Key: "a", Severity: Warning})
		a.Raise(Alert{Key: "b", Severity: Warning})
		time.Sleep(time.Minute)
		before := s.tries()
		if before == 0 {
			t.Error("nothing was tried")
		}
		a.Set(o)
		time.Sleep(time.Hour)
		if s.tries() > before {
			t.Error("the old webhook was tried again")
		}
		o.Webhooks = nil
		a.Set(o)
		a.Raise(Alert{Key: "c", Severity: Critical})
		time.Sleep(time.Minute)
	})
	got := other.told()
	equal(t, got[:2], []string{"60 firing a warning", "61 firing b warning"})
	for _, line := range got[2:] {
		if strings.Contains(line, " c ") {
			t.Error("told to a webhook that is gone")
		}
	}
}

func TestAlerter_ManyKeys(t *testing.T) {
	t.Parallel()
	s := &stand{}
	play(t, s, nil, func(t *testing.T, a *Alerter) {
		a.Raise(Alert{Key: "stays", Severity: Critical})
		for i := range mostKept {
			time.Sleep(time.Millisecond)
			a.Raise(Alert{Key: fmt.Sprint("event", i), Event: true})
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		if n := len(a.known); n != mostKept || a.known["stays"] == nil || a.known["event0"] != nil {
			t.Errorf("%d keys are known", n)
		}
	})
}

func TestAlert_IsBounded(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("ü<", 10000)
	a := Alert{Key: long, Title: long + "\xff", Text: long, Severity: 77, Fields: slices.Repeat([]Field{{long, "bad \xff bytes"}}, 100)}
	for _, slack := range []bool{false, true} {
		m := &message{Alert: a.bounded(), status: statusFiring, at: time.Unix(1e9, 0), since: time.Unix(1e9, 0)}
		text := m.encode(slack)
		var got map[string]any
		if err := json.Unmarshal(text, &got); err != nil || len(text) > 40_000 || strings.Contains(string(text), `\ufffd`) {
			t.Errorf("slack %v: %d bytes, %v", slack, len(text), err)
		}
		if shown, _ := got["text"].(string); slack && len(shown) > mostSlack {
			t.Errorf("%d bytes", len(shown))
		}
	}
	for _, c := range []struct{ in, want string }{{"abc", "abc"}, {"abcdefgh", "abcd…"}, {"abcüdefg", "abc…"}, {"\xfc\xfc", "?"}, {"", ""}} {
		if got := cut(c.in, 7); got != c.want {
			t.Errorf("cut(%q): got %q, want %q", c.in, got, c.want)
		}
	}
}

func TestOptionsOf_Settings(t *testing.T) {
	t.Parallel()
	c, err := config.Load(config.Options{Environ: []string{
		"OPTIMIZER_ALERTS__WEBHOOKS__A__URL=https://a.example/x", "OPTIMIZER_ALERTS__WEBHOOKS__A__MIN_SEVERITY=critical",
		"OPTIMIZER_ALERTS__WEBHOOKS__B__URL=https://b.example/x", "OPTIMIZER_ALERTS__WEBHOOKS__B__FORMAT=slack", "OPTIMIZER_ALERTS__INSTANCE=eu-1",
	}})
	if err != nil {
		t.Fatal(err)
	}
	got := OptionsOf(&c.Alerts, "1.2")
	want := Options{
		Repeat: 4 * time.Hour, Timeout: 10 * time.Second, GiveUp: time.Hour, Queue: 100, Instance: "eu-1", Version: "1.2",
		Webhooks: []Webhook{
			{Name: "a", URL: config.NewSecret("https://a.example/x"), MinSeverity: Critical},
			{Name: "b", URL: config.NewSecret("https://b.example/x"), MinSeverity: Warning, Slack: true},
		},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	c.Alerts.Instance = ""
	if OptionsOf(&c.Alerts, "").Instance == "" {
		t.Error("a host without a name")
	}
}
