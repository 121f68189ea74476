package sim

import (
	"bytes"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"
)

// realtimeConn opens a WebSocket to the simulator.
func (s *simulator) realtimeConn(header http.Header) *websocket.Conn {
	s.t.Helper()
	target := strings.Replace(s.url, "http", "ws", 1) + "/v1/realtime?model=gpt-realtime"
	ws, _, err := websocket.Dial(s.t.Context(), target, //nolint:bodyclose // websocket says that it never has to be
		&websocket.DialOptions{HTTPHeader: header, Subprotocols: []string{"realtime", "openai-insecure-api-key.key"}})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = ws.CloseNow() }) // an error says that it is closed already
	return ws
}

func TestRealtime_EchoesMessagesOfBothKinds(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	ws := s.realtimeConn(nil)
	if p := ws.Subprotocol(); p != "realtime" {
		t.Errorf("subprotocol %q", p)
	}
	if kind, p, err := ws.Read(t.Context()); err != nil || kind != websocket.MessageText || !bytes.Contains(p, []byte(`"model":"gpt-realtime"`)) {
		t.Fatalf("%v %q %v", kind, p, err)
	}
	for _, m := range []struct {
		kind websocket.MessageType
		p    []byte
	}{{websocket.MessageText, []byte("hello")}, {websocket.MessageBinary, bytes.Repeat([]byte{0, 255}, 10_000)}} {
		if err := ws.Write(t.Context(), m.kind, m.p); err != nil {
			t.Fatal(err)
		}
		if kind, p, err := ws.Read(t.Context()); err != nil || kind != m.kind || !bytes.Equal(p, m.p) {
			t.Errorf("%v, %d bytes, %v", kind, len(p), err)
		}
	}
	if err := ws.Close(websocket.StatusNormalClosure, "done"); err != nil {
		t.Error(err)
	}
	s.await("the end", func(st Stats) bool { return st.Completed == 1 && st.InFlight == 0 })
}

func TestRealtime_EndsOfTheOtherKind(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	ws := s.realtimeConn(nil)
	if err := ws.CloseNow(); err != nil {
		t.Error(err)
	}
	s.await("the cancel", func(st Stats) bool { return st.Canceled == 1 && st.InFlight == 0 })

	ws = s.realtimeConn(http.Header{"X-Sim-Fault": {"close-mid"}})
	if err := ws.Write(t.Context(), websocket.MessageText, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := ws.Read(t.Context()); err == nil || websocket.CloseStatus(err) >= 0 {
		t.Errorf("got %v, want a connection cut without a word", err)
	}
	s.await("the fault", func(st Stats) bool { return st.Broken == 1 && st.InFlight == 0 })

	resp, _ := s.do("GET", "/v1/realtime", "", "Connection: Upgrade", "Upgrade: websocket")
	if resp.StatusCode != 400 {
		t.Errorf("half an upgrade: %d", resp.StatusCode)
	}
	if resp, _ = s.do("GET", "/v1/realtime", ""); resp.StatusCode != 400 {
		t.Errorf("no upgrade: %d", resp.StatusCode)
	}
}
