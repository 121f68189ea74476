package sim

import (
	"bufio"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a listener whose connections are in memory, so that they live in synctest's time.
type pipes struct {
	conns chan net.Conn
	once  sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	if nc, ok := <-p.conns; ok {
		return nc, nil
	}
	return nil, net.ErrClosed
}
func (p *pipes) Close() error {
	p.once.Do(func() { close(p.conns) })
	return nil
}
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// inVirtualTime runs f with a simulator and a way to connect to it.
func inVirtualTime(t *testing.T, o Options, f func(s *Server, dial func() net.Conn)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := New(o)
		ln := &pipes{conns: make(chan net.Conn)}
		done := make(chan struct{})
		go func() {
			defer close(done)
			if err := s.Serve(ln); !errors.Is(err, ErrServerClosed) {
				t.Errorf("Serve: %v", err)
			}
		}()
		f(s, func() net.Conn {
			client, server := net.Pipe()
			ln.conns <- server
			return client
		})
		s.Close()
		<-done
	})
}

func TestTiming_FirstByteAndTokensComeWhenOrdered(t *testing.T) {
	t.Parallel()
	inVirtualTime(t, Options{}, func(s *Server, dial func() net.Conn) {
		nc := dial()
		begin := time.Now()
		send(t, nc, wire("POST", chatPath, streamChat, "x-sim: ttft=300ms,tpot=20ms,tokens=11,chunk=5"))
		resp, err := http.ReadResponse(bufio.NewReader(nc), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var at []time.Duration
		for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
			if strings.Contains(lines.Text(), `"delta":{"content"`) {
				at = append(at, time.Since(begin))
			}
		}
		want := []time.Duration{300 * time.Millisecond, 400 * time.Millisecond, 420 * time.Millisecond}
		if !slices.Equal(at, want) {
			t.Errorf("content came at %v, want %v", at, want)
		}

		begin = time.Now()
		send(t, nc, wire("POST", chatPath, plainChat, "x-sim: ttft=100ms,tpot=10ms,tokens=7,reasoning=3"))
		if _, err := receive(bufio.NewReader(nc)); err != nil {
			t.Fatal(err)
		}
		if got, want := time.Since(begin), 200*time.Millisecond; got != want {
			t.Errorf("plain answer came after %v, want %v", got, want)
		}
		nc.Close()
	})
}

func TestTiming_BatchesAreOneWriteEach(t *testing.T) {
	t.Parallel()
	inVirtualTime(t, Options{}, func(s *Server, dial func() net.Conn) {
		nc := dial()
		defer nc.Close()
		check := func(directives string, want int) {
			t.Helper()
			send(t, nc, wire("POST", chatPath, streamChat, "x-sim: tokens=29,"+directives)) // 32 frames
			reads, buf := 0, make([]byte, 1<<20)
			for all := ""; !strings.HasSuffix(all, "0\r\n\r\n"); reads++ { // a read of a pipe is a write of the other end
				n, err := nc.Read(buf)
				if err != nil {
					t.Fatal(err)
				}
				all += string(buf[:n])
			}
			if reads != want {
				t.Errorf("%s: %d writes, want %d", directives, reads, want)
			}
		}
		check("batch=1", 32)
		check("batch=8", 4)
		check("batch=100", 1)
		check("batch=100,tpot=1ms", 29) // the first word waits for nothing, the last frames come with the last word
	})
}

func TestTiming_LoadStretchesEverything(t *testing.T) {
	t.Parallel()
	inVirtualTime(t, Options{Capacity: 2, Directives: MustDirectives("ttft=100ms")}, func(s *Server, dial func() net.Conn) {
		begin := time.Now()
		took := make(chan time.Duration, 6)
		for range 6 {
			nc := dial()
			go func() {
				defer nc.Close()
				send(t, nc, wire("POST", chatPath, plainChat))
				if _, err := receive(bufio.NewReader(nc)); err != nil {
					t.Error(err)
				}
				took <- time.Since(begin)
			}()
			synctest.Wait() // one after the other
		}
		for i, want := range []int64{100, 100, 150, 200, 250, 300} {
			if got := (<-took).Milliseconds(); got != want {
				t.Errorf("answer %d came after %d ms, want %d", i, got, want)
			}
		}
	})
}

func TestTiming_StallsEndAndClientsThatLeaveAreSeenAtOnce(t *testing.T) {
	t.Parallel()
	inVirtualTime(t, Options{}, func(s *Server, dial func() net.Conn) {
		nc := dial()
		begin := time.Now()
		send(t, nc, wire("POST", chatPath, plainChat, "x-sim: fault=stall-head,stall=90s"))
		if _, err := receive(bufio.NewReader(nc)); err != nil || time.Since(begin) != 90*time.Second {
			t.Errorf("after %v: %v", time.Since(begin), err)
		}
		nc.Close()

		nc = dial()
		begin = time.Now()
		send(t, nc, wire("POST", chatPath, plainChat, "x-sim: ttft=1h"))
		nc.Close()
		synctest.Wait()
		if st := s.Stats(); st.Canceled != 1 || st.CanceledWaiting != 1 || st.InFlight != 0 || time.Since(begin) != 0 {
			t.Errorf("after %v: %+v", time.Since(begin), st)
		}
	})
}

func TestTiming_IdleConnectionsAreClosed(t *testing.T) {
	t.Parallel()
	inVirtualTime(t, Options{IdleTimeout: time.Minute}, func(s *Server, dial func() net.Conn) {
		nc := dial()
		send(t, nc, "GET /sim/health HTTP/1.1\r\nHost: h\r\n\r\n")
		r := bufio.NewReader(nc)
		if _, err := receive(r); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		if _, err := r.ReadByte(); err != io.EOF || time.Since(begin) != time.Minute {
			t.Errorf("after %v: %v", time.Since(begin), err)
		}
	})
}

func TestDist_LognormalHasItsMedianAndSpread(t *testing.T) {
	t.Parallel()
	d, err := parseDist("200ms~0.5", duration)
	if err != nil {
		t.Fatal(err)
	}
	r, n := random{7}, 20_000
	logs := make([]float64, n)
	sum, squares := 0.0, 0.0
	for i := range logs {
		logs[i] = math.Log(d.draw(&r) / float64(200*time.Millisecond))
		sum += logs[i]
		squares += logs[i] * logs[i]
	}
	// Ten standard errors: the generator is seeded, it either fits or it does not.
	if mean := sum / float64(n); math.Abs(mean) > 10*0.5/math.Sqrt(float64(n)) {
		t.Errorf("mean of logarithms: %v, want 0", mean)
	}
	if sigma := math.Sqrt(squares / float64(n)); math.Abs(sigma-0.5) > 0.02 {
		t.Errorf("sigma: %v, want 0.5", sigma)
	}
	if c := (dist{set: true, median: 3}); c.draw(&r) != 3 {
		t.Error("a constant is not constant")
	}
}
