package control

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"llm-auto-optimizer/optimizer/control/controlpb"
)

// A client that watches and takes nothing any more holds nobody for ever; one that has nothing to read for a while stays.
func TestUnhurried_CutsOffWhoDoesNotRead(t *testing.T) {
	t.Parallel()
	for name, second := range map[string]bool{"HTTP/1.1": false, "HTTP/2": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const patience = 100 * time.Millisecond
			ended := make(chan error, 1)
			serve := func(w http.ResponseWriter, r *http.Request) {
				flush := func() { w.(http.Flusher).Flush() } //nolint:forcetypeassert // as connect does
				if _, err := io.WriteString(w, "first"); err != nil {
					ended <- err
					return
				}
				flush()
				select { // longer than the patience: nothing is to be written
				case <-time.After(3 * patience): //nolint:forbidigo // real sockets
				case <-r.Context().Done():
				}
				message := bytes.Repeat([]byte("x"), 1<<16)
				for {
					if _, err := w.Write(message); err != nil {
						ended <- err
						return
					}
					flush()
				}
			}
			server := httptest.NewUnstartedServer(unhurried(http.HandlerFunc(serve), patience))
			server.Config.Protocols, server.Config.WriteTimeout = new(http.Protocols), 2*patience // less than it takes until more is written
			server.Config.Protocols.SetHTTP1(!second)
			server.Config.Protocols.SetUnencryptedHTTP2(second)
			server.Start()
			defer server.Close()
			var dialed net.Conn
			transport := &http.Transport{Protocols: server.Config.Protocols, DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
				if err == nil {
					err = c.(*net.TCPConn).SetReadBuffer(1 << 16) //nolint:forcetypeassert // TCP was dialed
				}
				dialed = c
				return c, err
			}}
			defer transport.CloseIdleConnections()
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+controlpb.AdminWatchStatusProcedure, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			res, err := (&http.Client{Transport: transport}).Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = res.Body.Close() }()
			b := make([]byte, 5+1<<16)
			if _, err := io.ReadFull(res.Body, b); err != nil || string(b[:6]) != "firstx" {
				t.Fatalf("a client that reads is cut off: %v", err)
			}
			select { // and now it does not read any more
			case err := <-ended:
				if err == nil {
					t.Error("no error")
				}
			case <-time.After(20 * time.Second):
				t.Error("the stream goes on for ever")
			}
			_ = dialed.Close()
		})
	}
}
