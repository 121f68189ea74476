package socket

import (
	"errors"
	"io"
	"os"
	"testing"
	"time"
)

func TestConn_Converse(t *testing.T) {
	t.Parallel()
	c, peer := pair(t, true)
	if !c.Converses() {
		t.Skip("no raw connections here")
	}
	say := func(s string) func() bool {
		return func() bool {
			_, err := c.Write([]byte(s))
			return err == nil
		}
	}
	hear := func(want string) {
		t.Helper()
		got := make([]byte, len(want))
		_ = peer.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := io.ReadFull(peer, got); string(got) != want || err != nil {
			t.Errorf("the peer got %q, %v; want %q", got, err, want)
		}
	}
	read := func(want string) {
		t.Helper()
		p := make([]byte, 8)
		if n, err := c.Read(p); string(p[:n]) != want || err != nil {
			t.Errorf("got %q, %v; want %q", p[:n], err, want)
		}
	}

	for _, pause := range []time.Duration{0, 0, 0, 20 * time.Millisecond} {
		go func() {
			hear("ask")
			time.Sleep(pause)
			_, _ = peer.Write([]byte("answer"))
		}()
		if err := c.Converse(say("ask")); err != nil {
			t.Fatal(err)
		}
		read("answer")
	}

	t.Log("a deadline that the poller was told of passes before the one in force")
	const step = 300 * time.Millisecond // machines stall
	_ = c.SetReadDeadline(time.Now().Add(step))
	time.AfterFunc(step/2, func() { _, _ = peer.Write([]byte("x")) })
	read("x")
	_ = c.SetReadDeadline(time.Now().Add(time.Minute))
	time.AfterFunc(3*step, func() { hear("ask"); _, _ = peer.Write([]byte("late")) })
	if err := c.Converse(say("ask")); err != nil {
		t.Error(err)
	}
	read("late")

	t.Log("one that it was told of passed before the conversation")
	_ = c.SetReadDeadline(time.Unix(1, 0))
	_ = c.SetReadDeadline(time.Now().Add(5 * step)) // it must not pass before it is sent
	if err := c.Converse(say("ask")); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("no answer: got %v, want a timeout", err)
	}
	hear("ask")
	_ = c.SetReadDeadline(time.Time{})

	t.Log("what was not sent is not waited for")
	if err := c.Converse(func() bool { return false }); err != nil {
		t.Error(err)
	}

	t.Log("others can end the wait")
	interrupted := func() bool { // once it is sent: a wait that has not begun sends nothing
		time.AfterFunc(step, func() { _ = c.SetReadDeadline(time.Unix(1, 0)) })
		return say("ask")()
	}
	if err := c.Converse(interrupted); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("interrupted: got %v, want a timeout", err)
	}
	hear("ask")
	_ = c.SetReadDeadline(time.Time{})

	for name, unasked := range map[string]func(){
		"a byte":  func() { _, _ = peer.Write([]byte("x")) },
		"the end": func() { _ = peer.Close() },
	} {
		if name == "the end" {
			c, peer = pair(t, true)
		}
		unasked()
		time.Sleep(10 * time.Millisecond)
		sent := false
		if err := c.Converse(func() bool { sent = true; return true }); !errors.Is(err, ErrNotSilent) || sent {
			t.Errorf("%s: got %v, sent %v; want ErrNotSilent, nothing sent", name, err, sent)
		}
	}

	c, _ = pair(t, true)
	time.AfterFunc(step, func() { c.Close() })
	if err := c.Converse(say("ask")); err == nil {
		t.Error("closed: no error")
	}
}
