package proxy

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"testing"
)

const upgradeHead = "GET /v1/realtime?model=gpt-4o-realtime HTTP/1.1\r\nHost: g\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\nAuthorization: Bearer sk\r\n\r\n"

// echoing is a provider that switches protocols and then sends back what it gets; bytes come along with its 101.
func echoing(t *testing.T, ended chan<- struct{}) string {
	return raw(t, func(c *net.TCPConn, r *bufio.Reader) {
		m, err := readMessage(r)
		if err != nil {
			return
		}
		if !m.has("Upgrade: websocket") || !m.has("Connection: Upgrade") || !m.has("Sec-WebSocket-Key: k") || !m.has("Authorization: Bearer sk") {
			t.Errorf("the provider got %q", m.headers)
		}
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: a\r\n\r\nwelcome")
		_, _ = io.Copy(c, r)
		close(ended)
	})
}

func TestTunnel_PassesBytesBothWaysAndEndsWithEitherSide(t *testing.T) {
	t.Parallel()
	ended := make(chan struct{})
	g := start(t, testConfig(echoing(t, ended)))
	c := g.dial()
	_, _ = io.WriteString(c, upgradeHead+"early") // bytes right behind the head belong to the tunnel
	r := bufio.NewReader(c)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != 101 || resp.Header.Get("Upgrade") != "websocket" || resp.Header.Get("Sec-WebSocket-Accept") != "a" {
		t.Errorf("got %d %v", resp.StatusCode, resp.Header)
	}
	want := "welcomeearly"
	for range 100 {
		_, _ = io.WriteString(c, "ping")
		want += "ping"
	}
	got := make([]byte, len(want))
	if _, err := io.ReadFull(r, got); err != nil || string(got) != want {
		t.Errorf("got %q, %v", got, err)
	}
	c.Close()
	<-ended
	if line := g.lines(1)[0]; line["outcome"] != "ok" || line["status"] != 101.0 {
		t.Errorf("log: %v", line)
	}
	eventually(t, "connections closed", func() bool {
		return g.p.settings.Load().providers["openai"].origin.Open() == 0 && g.p.clients.count() == 0
	})
}

func TestTunnel_LastBytesOfALeavingClientArrive(t *testing.T) {
	t.Parallel()
	const words = "what the client has to have read, or the kernel resets its connection"
	got := make(chan int64, 1)
	g := start(t, testConfig(raw(t, func(c *net.TCPConn, r *bufio.Reader) {
		_, _ = readMessage(r)
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		_, _ = io.WriteString(c, words)
		n, _ := io.Copy(io.Discard, r)
		got <- n
	})))
	c := g.dial()
	_, _ = io.WriteString(c, upgradeHead)
	r := bufio.NewReader(c)
	if _, err := http.ReadResponse(r, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(r, make([]byte, len(words))); err != nil {
		t.Fatal(err)
	}
	const size = 4 << 20
	_, _ = c.Write(make([]byte, size))
	c.Close()
	if n := <-got; n != size {
		t.Errorf("the provider got %d of %d bytes", n, size)
	}
}

func TestTunnel_ProviderEndsIt(t *testing.T) {
	t.Parallel()
	g := start(t, testConfig(raw(t, func(c *net.TCPConn, r *bufio.Reader) {
		_, _ = readMessage(r)
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nbye")
	})))
	c := g.dial()
	_, _ = io.WriteString(c, upgradeHead)
	r := bufio.NewReader(c)
	if _, err := http.ReadResponse(r, nil); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(r); err != nil || string(rest) != "bye" {
		t.Errorf("got %q, %v; want bye and the end", rest, err)
	}
}

func TestTunnel_RefusedUpgradeIsAnOrdinaryAnswer(t *testing.T) {
	t.Parallel()
	g := start(t, testConfig(fixed(t, "HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\n{}")))
	if resp, body := g.send(upgradeHead); resp.StatusCode != 401 || string(body) != "{}" {
		t.Errorf("got %d %q", resp.StatusCode, body)
	}
}

func TestShutdown_EndsTunnels(t *testing.T) {
	t.Parallel()
	ended := make(chan struct{})
	g := start(t, testConfig(echoing(t, ended)))
	c := g.dial()
	_, _ = io.WriteString(c, upgradeHead)
	if _, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil {
		t.Fatal(err)
	}
	g.stop()
	<-ended
}
