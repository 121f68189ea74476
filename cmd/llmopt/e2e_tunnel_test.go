package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"llm-auto-optimizer/bench/sim"
)

// realtime opens a session with key at base.
func realtime(t *testing.T, base string, o websocket.DialOptions) (*websocket.Conn, *reply, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if o.HTTPHeader == nil {
		o.HTTPHeader = http.Header{"Authorization": {"Bearer key"}, "X-Sim-Ids": {"stable"}}
	}
	c, resp, err := websocket.Dial(ctx, base+"/v1/realtime?model=gpt-realtime", &o)
	if resp == nil {
		return nil, nil, err
	}
	if c != nil {
		t.Cleanup(func() { _ = c.CloseNow() })
		c.SetReadLimit(-1)
	} else {
		t.Cleanup(func() { resp.Body.Close() })
	}
	return c, &reply{resp.StatusCode, resp.Header, resp.Body}, err
}

// hear reads one message; it fails the test when none comes.
func hear(t *testing.T, c *websocket.Conn) (websocket.MessageType, []byte) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	kind, p, err := c.Read(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return kind, p
}

// closing reads until the end and returns how the peer has said goodbye.
func closing(c *websocket.Conn) (websocket.StatusCode, string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for {
		if _, _, err := c.Read(ctx); err != nil {
			var bye websocket.CloseError
			errors.As(err, &bye)
			return websocket.CloseStatus(err), bye.Reason, err
		}
	}
}

func TestE2E_WebSocketSaysTheSame(t *testing.T) {
	t.Parallel()
	p := newPair(t, "")
	var ids []string
	talk := func(base string, offered []string, compression websocket.CompressionMode) (said []any) {
		c, resp, err := realtime(t, base, websocket.DialOptions{Subprotocols: offered, CompressionMode: compression})
		if err != nil {
			t.Fatalf("%s: %v", base, err)
		}
		if id := resp.Header.Get("X-Llmopt-Id"); id != "" {
			ids = append(ids, id)
		}
		h := endToEnd(resp.Header)
		h.Del("Sec-Websocket-Accept") // answers a random key
		said = append(said, c.Subprotocol(), h)
		_, hello := hear(t, c)
		said = append(said, string(hello))
		for _, m := range []struct {
			kind websocket.MessageType
			data []byte
		}{
			{websocket.MessageText, []byte(`{"type":"input_audio_buffer.append"}`)},
			{websocket.MessageText, nil},
			{websocket.MessageBinary, []byte{0, 1, 2, 255}},
			{websocket.MessageBinary, bytes.Repeat([]byte("audio"), 400_000)},
		} {
			if err := c.Write(t.Context(), m.kind, m.data); err != nil {
				t.Fatalf("%s: %v", base, err)
			}
			kind, data := hear(t, c)
			if kind != m.kind || !bytes.Equal(data, m.data) {
				t.Errorf("%s: %d bytes of kind %v came back as %d of kind %v", base, len(m.data), m.kind, len(data), kind)
			}
			said = append(said, len(data))
		}
		heard := make(chan struct{})
		go func() { // pongs are seen by a reader only
			defer close(heard)
			_, _, _ = c.Read(t.Context())
		}()
		if err := c.Ping(t.Context()); err != nil {
			t.Errorf("%s: ping: %v", base, err)
		}
		err = c.Close(4001, "enough")
		<-heard
		return append(said, err)
	}
	for _, offered := range [][]string{nil, {"realtime"}, {"other", "realtime"}, {"realtime", "openai-insecure-api-key.key"}} {
		for _, compression := range []websocket.CompressionMode{websocket.CompressionDisabled, websocket.CompressionContextTakeover} {
			want, got := talk(p.direct.url, offered, compression), talk(p.gateway.url, offered, compression)
			if !reflect.DeepEqual(want, got) {
				t.Errorf("offering %v: through the gateway %v, directly %v", offered, got, want)
			}
		}
	}
	for _, id := range ids {
		if line := p.gateway.lineOf(id); line.Status != 101 || line.Outcome != "ok" || line.Cost != 0 {
			t.Errorf("access log %+v, want 101 and ok", line)
		}
	}
	if len(ids) != 8 {
		t.Errorf("%d answers with an id, want 8", len(ids))
	}
	p.settled()
}

func TestE2E_WebSocketRefusedIsAnOrdinaryAnswer(t *testing.T) {
	t.Parallel()
	p := newPair(t, "")
	refused := func(base string) (int, string) {
		_, resp, err := realtime(t, base, websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer sk-bad"}}})
		if err == nil {
			t.Fatalf("%s: a bad key opened a session", base)
		}
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Error(err)
		}
		return resp.StatusCode, string(text)
	}
	wantStatus, want := refused(p.direct.url)
	if status, text := refused(p.gateway.url); status != wantStatus || text != want || status != 401 {
		t.Errorf("through the gateway %d %q, directly %d %q", status, text, wantStatus, want)
	}
}

// session is how a conversation ended, as the provider saw it.
type session struct {
	messages int
	status   websocket.StatusCode
	reason   string
	err      error
	at       time.Time
}

// realtimeProvider is a provider that hears what is said until the end; when it is told "bye" it says goodbye first.
func realtimeProvider(t *testing.T) (url string, ended <-chan session) {
	ch := make(chan session, 16)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
		if err != nil {
			return
		}
		defer func() { _ = c.CloseNow() }()
		c.SetReadLimit(-1)
		var s session
		for {
			_, p, err := c.Read(context.Background())
			if err != nil {
				var bye websocket.CloseError
				errors.As(err, &bye)
				s.status, s.reason, s.err, s.at = websocket.CloseStatus(err), bye.Reason, err, time.Now()
				ch <- s
				return
			}
			s.messages++
			pause() // slower than the client speaks
			if string(p) == "bye" {
				_ = c.Close(4002, "the provider has had enough")
			}
		}
	}))
	t.Cleanup(srv.Close)
	return srv.URL, ch
}

// await waits for the end of a session.
func await(t *testing.T, ended <-chan session) session {
	t.Helper()
	select {
	case s := <-ended:
		return s
	case <-time.After(10 * time.Second):
		t.Fatal("the provider's end of the session is still open")
		return session{}
	}
}

func TestE2E_WebSocketCloseCodesPassBothWays(t *testing.T) {
	t.Parallel()
	url, ended := realtimeProvider(t)
	g := serve(t, url)
	c, _, err := realtime(t, g.url, websocket.DialOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Close(4001, "the client has had enough"); err != nil {
		t.Errorf("close: %v", err)
	}
	if s := await(t, ended); s.status != 4001 || s.reason != "the client has had enough" {
		t.Errorf("the provider saw %d %q (%v), want 4001", s.status, s.reason, s.err)
	}
	if c, _, err = realtime(t, g.url, websocket.DialOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := c.Write(t.Context(), websocket.MessageText, []byte("bye")); err != nil {
		t.Fatal(err)
	}
	if status, reason, err := closing(c); status != 4002 || reason != "the provider has had enough" {
		t.Errorf("the client saw %d %q (%v), want 4002", status, reason, err)
	}
	await(t, ended)
}

func TestE2E_WebSocketClientThatVanishesEndsTheProvidersEnd(t *testing.T) {
	t.Parallel()
	url, ended := realtimeProvider(t)
	g := serve(t, url)
	c, _, err := realtime(t, g.url, websocket.DialOptions{})
	if err != nil {
		t.Fatal(err)
	}
	left := time.Now()
	_ = c.CloseNow()
	if s := await(t, ended); s.at.Sub(left) > time.Second || s.status != -1 {
		t.Errorf("the provider's end was closed after %v, with status %d", s.at.Sub(left), s.status)
	}
}

// What a client has said before it left is heard, as it is without the gateway.
func TestE2E_WebSocketLastWordsAreHeard(t *testing.T) {
	t.Parallel()
	url, ended := realtimeProvider(t)
	g := serve(t, url)
	const messages = 100
	speak := func(base string) session {
		c, _, err := realtime(t, base, websocket.DialOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for range messages {
			if err := c.Write(t.Context(), websocket.MessageBinary, make([]byte, 100_000)); err != nil {
				t.Fatal(err)
			}
		}
		_ = c.CloseNow()
		return await(t, ended)
	}
	for range 2 {
		want, got := speak(url), speak(g.url)
		if got.messages != want.messages || want.messages != messages {
			t.Fatalf("the provider heard %d messages through the gateway, %d directly, of %d", got.messages, want.messages, messages)
		}
	}
}

func TestE2E_WebSocketProviderThatVanishesEndsTheClients(t *testing.T) {
	t.Parallel()
	s := simulate(t, sim.Options{})
	g := serve(t, s.url)
	for _, fault := range []string{"close-mid", "reset-mid"} {
		c, _, err := realtime(t, g.url, websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer key"}, "X-Sim-Fault": {fault}}})
		if err != nil {
			t.Fatalf("%s: %v", fault, err)
		}
		if err := c.Write(t.Context(), websocket.MessageText, []byte("hello?")); err != nil {
			t.Fatalf("%s: %v", fault, err)
		}
		start := time.Now()
		status, _, err := closing(c)
		if took := time.Since(start); took > time.Second || status != -1 {
			t.Errorf("%s: the client's end was closed after %v: %v", fault, took, err)
		}
	}
}

// A tunnel that is still open when the server stops is cut, and does not hold up its end.
func TestE2E_WebSocketDoesNotOutliveTheServer(t *testing.T) {
	t.Parallel()
	url, ended := realtimeProvider(t)
	g := serve(t, url, "OPTIMIZER_SERVER__SHUTDOWN_TIMEOUT=100ms")
	c, _, err := realtime(t, g.url, websocket.DialOptions{})
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	g.stop()
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("stopping took %v", took)
	}
	await(t, ended)
	if _, _, err := closing(c); err == nil {
		t.Error("the client's end is still open")
	}
	if _, err := net.Dial("tcp", strings.TrimPrefix(g.url, "http://")); err == nil {
		t.Error("somebody still listens")
	}
}
