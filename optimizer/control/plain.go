package control

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/pprof"

	"github.com/VictoriaMetrics/metrics"
)

// index tells a person what is here.
func (s *Server) index(w http.ResponseWriter, _ *http.Request) {
	setText(w)
	fmt.Fprintf(w, "LLM Auto-Optimizer %s, admin service\n\n"+
		"/metrics   Prometheus metrics\n"+
		"/healthz   is it alive\n"+
		"/readyz    can it serve, and if not, why\n"+
		"/version   the build, as JSON\n"+
		"/state/backup    a backup of all stored state (GET)\n"+
		"/state/restore   puts a backup in its place (POST)\n", s.options.Version.Version)
	if s.options.Pprof {
		fmt.Fprint(w, "/debug/pprof/   profiles\n")
	}
	fmt.Fprint(w, "\nPOST /llmopt.control.v1.Admin/{GetStatus,GetSeries,GetVersion,ListJobs,RunJob,GetState,CompactState,ListJournal}   the API: gRPC, gRPC-Web or JSON\n"+
		"The command `llmopt status` shows it as a table.\n")
}

// metrics renders into memory first: a slow client must not hold the sets.
func (s *Server) metrics(w http.ResponseWriter, _ *http.Request) {
	var b bytes.Buffer
	for _, set := range s.options.Metrics {
		set.WritePrometheus(&b)
	}
	s.own.WritePrometheus(&b)
	metrics.WriteProcessMetrics(&b)
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	_, _ = w.Write(b.Bytes()) // a scraper that left asks again
}

// healthz says that the process answers at all.
func (s *Server) healthz(w http.ResponseWriter, _ *http.Request) {
	setText(w)
	fmt.Fprintln(w, "ok")
}

// readyz says whether traffic may be sent here.
func (s *Server) readyz(w http.ResponseWriter, _ *http.Request) {
	setText(w)
	if err := s.options.Ready(); err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprintf(w, "not ready: %v\n", err)
		return
	}
	fmt.Fprintln(w, "ready")
	for _, notice := range s.options.Notices() {
		fmt.Fprintln(w, notice)
	}
}

func (s *Server) version(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(s.options.Version) // plain strings always encode; a client that left needs no answer
}

func setText(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
}

func handlePprof(mux *http.ServeMux) {
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("POST /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
}
