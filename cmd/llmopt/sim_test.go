package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"llm-auto-optimizer/bench/sim"
)

func TestSim_SaysWhereItListensAndWhatItSaw(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		cmd := simCmd{Listen: "127.0.0.1:0", Directives: "tokens=3", JSON: true}
		done <- cmd.Run(&environment{ctx: ctx, stdout: w, stderr: io.Discard})
		w.Close()
	}()
	lines := bufio.NewScanner(r)
	if !lines.Scan() {
		t.Fatalf("no line: %v", lines.Err())
	}
	var hello struct{ Event, Sim string }
	if err := json.Unmarshal(lines.Bytes(), &hello); err != nil || hello.Event != "listening" {
		t.Fatalf("first line %q: %v", lines.Text(), err)
	}
	req, err := http.NewRequestWithContext(ctx, "POST", hello.Sim+"/v1/chat/completions", strings.NewReader(`{"model":"m","messages":[]}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer key")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil || !bytes.Contains(body, []byte(`"completion_tokens":3`)) {
		t.Errorf("answer %s, %v", body, err)
	}
	stop()
	if !lines.Scan() {
		t.Fatalf("no counters: %v", lines.Err())
	}
	var st sim.Stats
	if err := json.Unmarshal(lines.Bytes(), &st); err != nil || st.Calls["chat"] != 1 {
		t.Errorf("counters %s, %v", lines.Text(), err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestSim_RefusesFlagsThatDoNotParse(t *testing.T) {
	t.Parallel()
	for _, cmd := range []simCmd{
		{Directives: "ttft=soon"}, {Rates: "429=2"}, {Script: "x"}, {Quota: "rpm=5"}, {Capacity: -1}, {Idle: -1}, {TLSCert: "only"},
	} {
		if err := cmd.Run(&environment{ctx: t.Context(), stdout: io.Discard, stderr: io.Discard}); !errors.Is(err, errUsage) {
			t.Errorf("%+v: got %v, want a usage error", cmd, err)
		}
	}
}
