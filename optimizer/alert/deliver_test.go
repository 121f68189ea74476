package alert

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"llm-auto-optimizer/config"
	"llm-auto-optimizer/optimizer"
)

// hook is a real server on loopback, with what it was sent.
func hook(t *testing.T, answer http.HandlerFunc) (url string, posts chan post) {
	t.Helper()
	posts = make(chan post, 100)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, err := io.ReadAll(r.Body)
		if err != nil || r.Method != http.MethodPost {
			t.Errorf("%s %v", r.Method, err)
		}
		posts <- post{header: r.Header, text: string(text)}
		if answer != nil {
			answer(w, r)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL + "/services/s3cret?token=s3cret", posts
}

// deliverTo runs an alerter with webhooks until the test ends.
func deliverTo(t *testing.T, hooks ...Webhook) *Alerter {
	t.Helper()
	a := New(Options{Repeat: time.Hour, Timeout: 5 * time.Second, GiveUp: time.Minute, Queue: 10, Instance: "eu-1", Version: "1.2", Webhooks: hooks}, zerolog.Nop())
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { a.Run(ctx); close(done) }()
	t.Cleanup(func() { stop(); <-done })
	return a
}

func TestDeliver_JSON(t *testing.T) {
	t.Parallel()
	url, posts := hook(t, nil)
	a := deliverTo(t, Webhook{Name: "ops", URL: config.NewSecret(url), SigningKey: config.NewSecret("key")})
	a.Raise(Alert{Key: "k", Severity: Critical, Title: "title <&>", Text: "text\nof two lines", Fields: []Field{{"route", "chat"}, {"p", "0.8"}}})
	p := <-posts
	var got map[string]any
	if err := json.Unmarshal([]byte(p.text), &got); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]any{
		"source": "llmopt", "instance": "eu-1", "version": "1.2", "status": "firing", "key": "k", "severity": "critical", "title": "title <&>",
		"text": "text\nof two lines", "raised": 1., "fields": map[string]any{"route": "chat", "p": "0.8"}, "id": p.header.Get("x-llmopt-alert-id"),
	} {
		if !reflect.DeepEqual(got[key], want) {
			t.Errorf("%s: got %v, want %v", key, got[key], want)
		}
	}
	for _, key := range []string{"at", "since"} {
		if at, err := time.Parse(time.RFC3339, fmt.Sprint(got[key])); err != nil || time.Since(at) > time.Minute {
			t.Errorf("%s: %v", key, got[key])
		}
	}
	mac := hmac.New(sha256.New, []byte("key"))
	mac.Write([]byte(p.text))
	if want := "sha256=" + hex.EncodeToString(mac.Sum(nil)); p.header.Get("x-llmopt-signature") != want || p.header.Get("user-agent") != "llmopt/1.2" {
		t.Errorf("headers %v, want the signature %s", p.header, want)
	}
}

func TestDeliver_Slack(t *testing.T) {
	t.Parallel()
	url, posts := hook(t, nil)
	a := deliverTo(t, Webhook{Name: "slack", URL: config.NewSecret(url), Slack: true})
	alert := Alert{Key: "k", Severity: Warning, Title: "a & b", Text: "<!channel> look", Fields: []Field{{"route", "chat"}}}
	a.Raise(alert)
	check := func(begin string) {
		t.Helper()
		p := <-posts
		var got map[string]string
		if err := json.Unmarshal([]byte(p.text), &got); err != nil || len(got) != 1 {
			t.Fatalf("%s: %v", p.text, err)
		}
		want := begin + " *a &amp; b*\n&lt;!channel&gt; look\n• route: chat\n_llmopt at eu-1, warning, since " + time.Now().UTC().Format("2006-01-02 15:")
		want = strings.Replace(want, "!*", "!", 1)
		if !strings.HasPrefix(strings.Replace(got["text"], "*Resolved: ", "*", 1), want) || p.header.Get("content-type") != "application/json" ||
			p.header.Get("x-llmopt-signature") != "" {
			t.Errorf("got %q, want %q…, headers %v", got["text"], want, p.header)
		}
		if strings.Contains(begin, "check") != strings.Contains(got["text"], "*Resolved: ") {
			t.Errorf("got %q", got["text"])
		}
	}
	check(":warning:")
	a.Resolve("k")
	check(":white_check_mark:")
}

// A webhook that hangs keeps no other from being told, and ends with its time.
func TestDeliver_OneHangs(t *testing.T) {
	t.Parallel()
	gone := make(chan struct{})
	slow, slowPosts := hook(t, func(_ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		close(gone)
	})
	fast, posts := hook(t, nil)
	a := deliverTo(t)
	o := Options{Repeat: time.Hour, Timeout: 300 * time.Millisecond, GiveUp: 400 * time.Millisecond, Queue: 10}
	o.Webhooks = []Webhook{{Name: "slow", URL: config.NewSecret(slow)}, {Name: "fast", URL: config.NewSecret(fast)}}
	a.Set(o)
	a.Raise(Alert{Key: "k"})
	<-slowPosts
	<-posts
	<-gone
}

func TestDeliver_RedirectsAreNotFollowed(t *testing.T) {
	t.Parallel()
	elsewhere, strayed := hook(t, nil)
	url, posts := hook(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere, http.StatusTemporaryRedirect)
	})
	err := senderTo(url).deliver(t.Context(), &message{at: time.Now()})
	if err == nil || strings.Contains(err.Error(), "s3cret") || len(posts) != 1 || len(strayed) != 0 {
		t.Errorf("%v; %d and %d posts", err, len(posts), len(strayed))
	}
}

func senderTo(url string) *sender {
	o := &Options{Timeout: 5 * time.Second, GiveUp: 200 * time.Millisecond}
	return newSender(&Webhook{Name: "w", URL: config.NewSecret(url)}, o, &counts{}, zerolog.Nop())
}

func TestDeliver_ErrorsShowNoURL(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	check := func(what, url, want string) {
		t.Helper()
		err := senderTo(url).deliver(t.Context(), &message{at: time.Now()})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v, want %q", what, err, want)
		}
	}
	check("nobody listens", "http://"+address+"/s3cret", "given up after 1 tries: post to "+address)
	check("no URL", "http://h/s3cret\x7f", "no URL")
	url, _ := hook(t, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no service s3cret", http.StatusNotFound) })
	check("gone", url, "answered with 404 Not Found")
	if err := senderTo(url).deliver(t.Context(), &message{at: time.Now().Add(-time.Hour)}); err == nil || err.Error() != "given up" {
		t.Errorf("an hour old: %v", err)
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 5, 12, 0, 0, 0, time.UTC)
	check := func(v string, want time.Duration) {
		t.Helper()
		if got := retryAfter(v, now); got != want {
			t.Errorf("%q: got %v, want %v", v, got, want)
		}
	}
	check("", 0)
	check(" 30 ", 30*time.Second)
	check("-5", 0)
	check("99999999999999", 0)
	check("1.5", 0)
	check("Mon, 05 Jan 2026 12:01:00 GMT", time.Minute)
	check("Mon, 05 Jan 2026 11:01:00 GMT", 0)
}

func TestForBudget(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 5, 12, 0, 0, 0, time.UTC)
	f := optimizer.BudgetForecast{
		Name: "chat", Dollars: 50, Period: "day", End: at.Add(12 * time.Hour), Spent: 31.5, P: .82, Exhausted: [3]time.Time{at.Add(time.Hour), at.Add(2 * time.Hour)},
		Total: [3]float64{45, 60, 80}, Acting: true,
	}
	a := ForBudget(&f)
	if a.Key != "budget/chat" || a.Severity != Warning || a.Text != "budget of $50 a day for chat ends at 14:00 with p .8." || len(a.Fields) != 8 {
		t.Errorf("%+v", a)
	}
	f.Name, f.Spent, f.P, f.Exhausted[1] = "", 50, 1, at.Add(-time.Hour)
	if a = ForBudget(&f); a.Key != "budget" || a.Severity != Critical || a.Text != "budget of $50 a day was used up at 11:00." {
		t.Errorf("%+v", a)
	}
	f.Name, f.Limit = "chat", "team"
	if a = ForBudget(&f); a.Key != "limit/team/day" || a.Title != "The limit team for this day is used up" || a.Text != "limit team of $50 a day for chat was used up at 11:00." || a.Fields[1].Value != "team" {
		t.Errorf("%+v", a)
	}
	d := optimizer.LatencyDrift{Target: "chat/a", Change: .3, Low: .2, High: .4, P: .001, Level: .8, Span: 240 * time.Hour}
	if a = ForDrift(&d); a.Key != "drift/chat/a" || !strings.Contains(a.Text, "30 % slower over 10 days") {
		t.Errorf("%+v", a)
	}
}

// The examples of the documentation have the keys that are sent.
func TestDocs_Bodies(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/alerts.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```json\n(.*?)```").FindAllSubmatch(page, -1)
	if len(blocks) != 2 {
		t.Fatalf("%d examples", len(blocks))
	}
	f := optimizer.BudgetForecast{Name: "chat", Dollars: 50, Period: "day", Exhausted: [3]time.Time{time.Unix(1e9, 0), time.Unix(1e9, 0)}}
	m := &message{Alert: ForBudget(&f), status: statusFiring}
	for i, block := range blocks {
		var documented, sent map[string]any
		if err := errors.Join(json.Unmarshal(block[1], &documented), json.Unmarshal(m.encode(i == 1), &sent)); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"", "fields"} {
			documented, sent := documented, sent
			if name != "" {
				documented, _ = documented[name].(map[string]any)
				sent, _ = sent[name].(map[string]any)
			}
			if got, want := slices.Sorted(maps.Keys(documented)), slices.Sorted(maps.Keys(sent)); !slices.Equal(got, want) {
				t.Errorf("example %d %s: documented are %v, sent %v", i, name, got, want)
			}
		}
	}
}
