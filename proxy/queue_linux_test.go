package proxy

import (
	"net"
	"testing"
	"time"
)

// What the system has taken from clients is accepted before a listener closes: closing resets it.
func TestListener_ClosesWithAnEmptyQueue(t *testing.T) {
	t.Parallel()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	const clients = 5
	for range clients {
		c, err := net.Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
	}
	eventually(t, "all are in the queue", func() bool { return queued(inner) == clients })
	cs, err := newClients(false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cs.watch.close)
	ln := &listener{Listener: inner, clients: cs}
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		ln.Close()
	}()
	for i := range clients {
		time.Sleep(2 * time.Millisecond)
		c, err := ln.Accept()
		if err != nil {
			t.Fatalf("connection %d: %v", i+1, err)
		}
		c.Close()
	}
	<-closed
	if _, err := ln.Accept(); err == nil {
		t.Error("it is still open")
	}
}
