package socket

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"
)

// pair is a connection under test and its peer.
func pair(t testing.TB, useRaw bool) (c *Conn, peer *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	nc, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	other, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close(); other.Close() })
	return Wrap(nc.(*net.TCPConn), useRaw), other.(*net.TCPConn)
}

// eachWay runs a test in both ways, which must not differ.
func eachWay(t *testing.T, f func(t *testing.T, useRaw bool)) {
	t.Parallel()
	t.Run("raw", func(t *testing.T) { t.Parallel(); f(t, true) })
	t.Run("plain", func(t *testing.T) { t.Parallel(); f(t, false) })
}

func TestConn_BytesArriveInOrder(t *testing.T) {
	eachWay(t, func(t *testing.T, useRaw bool) {
		c, peer := pair(t, useRaw)
		sent := make([]byte, 3<<20+17) // more than the kernel's buffers hold
		for i := range sent {
			sent[i] = byte(i * i >> 8)
		}
		head := []byte("head")
		var wg sync.WaitGroup
		wg.Go(func() { // echo
			_, _ = io.Copy(peer, struct{ io.Reader }{peer})
			_ = peer.CloseWrite()
		})
		wg.Go(func() {
			if n, err := c.WriteBoth(head, sent); n != len(head)+len(sent) || err != nil {
				t.Errorf("write both: %d, %v", n, err)
			}
			if n, err := c.Write(sent); n != len(sent) || err != nil {
				t.Errorf("write: %d, %v", n, err)
			}
			if n, err := c.WriteBoth(nil, head); n != len(head) || err != nil {
				t.Errorf("write both with an empty half: %d, %v", n, err)
			}
			_ = c.CloseWrite()
		})
		got, err := io.ReadAll(c)
		wg.Wait()
		if want := bytes.Join([][]byte{head, sent, sent, head}, nil); err != nil || !bytes.Equal(got, want) {
			t.Errorf("got %d bytes, %v; want the %d sent", len(got), err, len(want))
		}
		if n, err := c.Read(nil); n != 0 || err != nil {
			t.Errorf("read into nothing: %d, %v", n, err)
		}
	})
}

func TestConn_DeadlinesCloseAndResets(t *testing.T) {
	eachWay(t, func(t *testing.T, useRaw bool) {
		c, peer := pair(t, useRaw)
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
		_, err := c.Read(make([]byte, 1))
		var netErr net.Error
		if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &netErr) || !netErr.Timeout() {
			t.Errorf("read past the deadline: %v", err)
		}
		large := make([]byte, 64<<20)
		_ = c.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
		if n, err := c.Write(large); n == 0 || n == len(large) || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("write past the deadline: %d, %v", n, err)
		}
		_ = c.SetDeadline(time.Time{})

		// Closing over unread bytes resets the connection.
		peer.Close()
		if _, err = c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("read after a reset: %v", err)
		}
		if _, err = c.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("write after a reset: %v", err)
		}

		c, peer = pair(t, useRaw)
		_ = peer.CloseWrite()
		if n, err := c.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
			t.Errorf("read at the end: %d, %v", n, err)
		}

		c, _ = pair(t, useRaw)
		time.AfterFunc(10*time.Millisecond, func() { c.Close() })
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("closed under a read: %v", err)
		}
		if _, err := c.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("write when closed: %v", err)
		}
	})
}

func TestConn_InstantReadsDoNotWait(t *testing.T) {
	eachWay(t, func(t *testing.T, useRaw bool) {
		c, peer := pair(t, useRaw)
		_ = c.SetReadDeadline(time.Unix(1, 0)) // looked past
		c.Instant(true)
		buf := make([]byte, 8)
		n, err := c.Read(buf)
		var netErr interface{ Temporary() bool }
		if n != 0 || !errors.Is(err, ErrWouldBlock) || !errors.As(err, &netErr) || !netErr.Temporary() {
			t.Errorf("nothing there: %d, %v", n, err)
		}
		_, _ = peer.Write([]byte("late"))
		for end := time.Now().Add(5 * time.Second); n == 0 && time.Now().Before(end); {
			n, err = c.Read(buf)
		}
		if string(buf[:n]) != "late" || err != nil {
			t.Errorf("something there: %q, %v", buf[:n], err)
		}
		peer.Close()
		for end := time.Now().Add(5 * time.Second); time.Now().Before(end); {
			if n, err = c.Read(buf); !errors.Is(err, ErrWouldBlock) {
				break
			}
		}
		if n != 0 || !errors.Is(err, io.EOF) {
			t.Errorf("at the end: %d, %v", n, err)
		}

		c, peer = pair(t, useRaw)
		c.Instant(true)
		c.Instant(false)
		time.AfterFunc(5*time.Millisecond, func() { _, _ = peer.Write([]byte("x")) })
		if n, err := c.Read(buf); n != 1 || err != nil {
			t.Errorf("waiting again: %d, %v", n, err)
		}
	})
}

func TestConn_NoCallAllocates(t *testing.T) {
	for _, useRaw := range []bool{true, false} {
		c, peer := pair(t, useRaw)
		go func() { _, _ = io.Copy(peer, struct{ io.Reader }{peer}) }()
		p, half := make([]byte, 64), make([]byte, 32)
		allocs := testing.AllocsPerRun(100, func() {
			c.Instant(true)
			if _, err := c.Read(p); err != ErrWouldBlock { //nolint:errorlint // wrapping would allocate
				t.Fatal(err)
			}
			c.Instant(false)
			if _, err := c.Write(p); err != nil {
				t.Fatal(err)
			}
			if _, err := c.WriteBoth(half, half); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(c, p); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(c, p); err != nil {
				t.Fatal(err)
			}
		})
		if allocs > 0 {
			t.Errorf("raw %v: %.0f allocations", useRaw, allocs)
		}
	}
}

func BenchmarkConn_RoundTrip(b *testing.B) {
	for name, useRaw := range map[string]bool{"raw": true, "plain": false} {
		b.Run(name, func(b *testing.B) {
			c, peer := pair(b, useRaw)
			go func() { _, _ = io.Copy(peer, struct{ io.Reader }{peer}) }()
			p := make([]byte, 1024)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Write(p); err != nil {
					b.Fatal(err)
				}
				if _, err := io.ReadFull(c, p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
