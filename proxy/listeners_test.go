package proxy

import (
	"context"
	"net"
	"testing"
	"time"
)

// A listener that begins to be served when the shutdown is over, or while it goes on, is served no more: nobody waits for it.
func TestShutdown_BeforeServe(t *testing.T) {
	t.Parallel()
	for i := range 20 {
		g := start(t, testConfig("http://127.0.0.1:1"))
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		served := make(chan error, 1)
		go func() {
			time.Sleep(time.Duration(i) * 20 * time.Microsecond)
			served <- g.p.Serve(ln, nil)
		}()
		g.stop()
		select {
		case err := <-served:
			if err != nil {
				t.Errorf("serve: %v", err)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("still served")
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		if conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", ln.Addr().String()); err == nil {
			conn.Close()
			t.Error("accepted after the shutdown")
		}
		cancel()
	}
}
