package relay

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestServe_RelaysPlainAndStreamedAnswers(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/stream" {
			_, _ = io.WriteString(w, "first")
			w.(http.Flusher).Flush() //nolint:forcetypeassert // net/http's writers flush
			<-release
			_, _ = io.WriteString(w, "last")
			return
		}
		text, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s", r.Method, r.Header.Get("X-A"), text)
	}))
	t.Cleanup(origin.Close)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() { _ = Serve(ln, strings.TrimPrefix(origin.URL, "http://")) }()
	base := "http://" + ln.Addr().String()

	for range 3 {
		r, _ := http.NewRequest(http.MethodPost, base+"/x", strings.NewReader("body"))
		r.Header.Set("X-A", "1")
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if string(text) != "POST 1 body" || err != nil {
			t.Errorf("got %q, %v", text, err)
		}
	}
	resp, err := http.Get(base + "/stream")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	first := make([]byte, 5)
	if _, err := io.ReadFull(resp.Body, first); err != nil || string(first) != "first" {
		t.Errorf("before the end: %q, %v", first, err)
	}
	close(release)
	if rest, err := io.ReadAll(resp.Body); string(rest) != "last" || err != nil {
		t.Errorf("then: %q, %v", rest, err)
	}
}
