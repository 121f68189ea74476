package sim

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"
)

func TestMinimal_AnswersAsTheFullSimulatorDoes(t *testing.T) {
	t.Parallel()
	options := Options{Now: fixed, Directives: MustDirectives("ids=stable")}
	full := start(t, options)
	options.Minimal = true
	minimal := start(t, options)
	for op, request := range preparedRequests {
		paths := map[operation]string{
			opChat: chatPath, opCompletions: "/v1/completions", opResponses: "/v1/responses", opEmbeddings: "/v1/embeddings",
			opMessages: "/v1/messages", opGenerate: "/v1beta/models/sim:generateContent",
			opStreamGenerate: "/v1beta/models/sim:streamGenerateContent?alt=sse",
		}
		streamed := strings.TrimSuffix(request, "}") + `,"stream": true}`
		withUsage := strings.TrimSuffix(request, "}") + `,"stream":true,"stream_options":{"include_usage":true}}`
		for _, body := range []string{request, streamed, withUsage} {
			if body != request && (op == opEmbeddings || op == opGenerate || op == opStreamGenerate) {
				continue
			}
			respFull, want := full.do("POST", paths[op], body, "anthropic-version: 2023-06-01")
			resp, got := minimal.do("POST", paths[op], body, "anthropic-version: 2023-06-01")
			if got != want {
				t.Errorf("%v: got %.300q, want %.300q", op, got, want)
			}
			if fmt.Sprint(resp.Header) != fmt.Sprint(respFull.Header) {
				t.Errorf("%v: header %v, want %v", op, resp.Header, respFull.Header)
			}
		}
	}
	if resp, _ := minimal.do("GET", "/v1/models", ""); resp.StatusCode != 200 {
		t.Errorf("an operation that is not prepared: %d", resp.StatusCode)
	}
}

func TestMinimal_KeepsPaceAndSeesCancels(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Minimal: true, Directives: MustDirectives("tpot=1h,tokens=5")})
	nc := s.dial()
	send(t, nc, wire("POST", chatPath, streamChat))
	s.await("the call", func(st Stats) bool { return st.InFlight == 1 })
	nc.Close()
	s.await("the cancel", func(st Stats) bool { return st.Canceled == 1 && st.InFlight == 0 })
}

// BenchmarkServe measures the simulator with one client over loopback, the client's own work included.
func BenchmarkServe(b *testing.B) {
	for _, minimal := range []bool{false, true} {
		for kind, request := range map[string]string{"plain": plainChat, "stream": streamChat} {
			b.Run(fmt.Sprintf("minimal=%v/kind=%s", minimal, kind), func(b *testing.B) {
				ln, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					b.Fatal(err)
				}
				s := New(Options{Minimal: minimal, Directives: MustDirectives("tokens=64")})
				go func() { _ = s.Serve(ln) }() // until Close
				defer s.Close()
				nc, err := net.Dial("tcp", ln.Addr().String())
				if err != nil {
					b.Fatal(err)
				}
				defer nc.Close()
				r, raw := bufio.NewReader(nc), wire("POST", chatPath, request)
				b.ReportAllocs()
				for b.Loop() {
					send(b, nc, raw)
					if _, err := receive(r); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
