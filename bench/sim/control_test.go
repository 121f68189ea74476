package sim

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/tidwall/gjson"
)

func TestDirectives_RefuseWhatTheyDoNotKnow(t *testing.T) {
	t.Parallel()
	bad := []string{
		"nonsense=1", "ttft=soon", "ttft=-1s", "ttft=1s~x", "ttft=1s~9", "tokens=-1", "tokens=1.5", "chunk=0", "fault=slow",
		"fault=200", "fault=700", "ids=odd", "echo=maybe", "stall=1",
	}
	for _, d := range bad {
		if _, err := ParseDirectives(d); err == nil {
			t.Errorf("%s: accepted", d)
		}
	}
	if _, err := ParseDirectives(" ttft=1s~0.5, tokens=0 ,fault=gzip+429,, "); err != nil {
		t.Error(err)
	}
	s := start(t, Options{})
	for _, h := range []string{"x-sim: nonsense=1", "x-sim-ttft: soon", "x-sim-tokns: 1"} {
		if resp, got := s.do("POST", chatPath, plainChat, h); resp.StatusCode != 400 || !strings.Contains(got, "simulator: ") {
			t.Errorf("%s: %d %s", h, resp.StatusCode, got)
		}
	}
	for _, model := range []string{"sim:nonsense=1", "sim:fault=early-413"} {
		body := strings.Replace(plainChat, "gpt-4o", model, 1)
		if resp, _ := s.do("POST", chatPath, body); resp.StatusCode != 400 {
			t.Errorf("%s: %d", model, resp.StatusCode)
		}
	}
}

func TestDirectives_HeadersGoBeforeModelBeforeScriptBeforeOptions(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Directives: MustDirectives("tokens=1"), Script: MustScript("1*tokens=2;1*tokens=2;1*tokens=2")})
	check := func(model, header string, want int) {
		t.Helper()
		_, got := s.do("POST", chatPath, strings.Replace(plainChat, "gpt-4o", model, 1), "x-sim: "+header)
		if !strings.Contains(got, `"completion_tokens":`+itoa(want)+`,`) {
			t.Errorf("model %s, header %s: %s, want %d tokens", model, header, got, want)
		}
	}
	check("gpt-4o@sim:tokens=3", "tokens=4", 4)
	check("gpt-4o@sim:tokens=3", "", 3)
	check("gpt-4o", "", 2)
	check("gpt-4o", "", 1)
}

func TestScript_StepsAreUsedUpInOrder(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Script: MustScript("embeddings/1*fault=500; 2*fault=429; 1*fault=503")})
	status := func(path, body string, want int, headers ...string) {
		t.Helper()
		if resp, _ := s.do("POST", path, body, headers...); resp.StatusCode != want {
			t.Errorf("%s: %d, want %d", path, resp.StatusCode, want)
		}
	}
	run := func() {
		t.Helper()
		status(chatPath, plainChat, 429)
		status("/v1/embeddings", `{"model":"m","input":"a"}`, 500)
		status(chatPath, plainChat, 200, "x-sim-fault: none")
		status(chatPath, plainChat, 503)
		status(chatPath, plainChat, 200)
	}
	run()
	if resp, _ := s.do("POST", "/sim/reset", ""); resp.StatusCode != 204 {
		t.Errorf("reset: %d", resp.StatusCode)
	}
	run()
	if resp, _ := s.do("POST", "/sim/script", "1*fault=502"); resp.StatusCode != 204 {
		t.Errorf("script: %d", resp.StatusCode)
	}
	status(chatPath, plainChat, 502)
	for _, bad := range []string{"fault=429", "x*fault=429", "1*fault=x", "nowhere/1*fault=429"} {
		if resp, _ := s.do("POST", "/sim/script", bad); resp.StatusCode != 400 {
			t.Errorf("script %q: %d", bad, resp.StatusCode)
		}
	}
}

func TestRates_AreKept(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"429", "429=2", "429=-1", "x=0.1", "429=0.6,500=0.6", "429=NaN"} {
		if _, err := ParseRates(bad); err == nil {
			t.Errorf("%s: accepted", bad)
		}
	}
	rates, err := ParseRates("429=0.2, reset-mid=0.1")
	if err != nil {
		t.Fatal(err)
	}
	const n = 10_000
	limited, reset := 0, 0
	r := random{1}
	for range n {
		switch f, status := rates.draw(r.float()); {
		case status == 429:
			limited++
		case f.has(faultResetMid):
			reset++
		}
	}
	within := func(got int, p float64) bool { return math.Abs(float64(got)-n*p) < 5*math.Sqrt(n*p*(1-p)) }
	if !within(limited, 0.2) || !within(reset, 0.1) {
		t.Errorf("of %d: %d limited, %d reset", n, limited, reset)
	}

	always, err := ParseRates("503=1")
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, Options{Rates: always})
	if resp, _ := s.do("POST", chatPath, plainChat); resp.StatusCode != 503 {
		t.Errorf("rate 1: %d", resp.StatusCode)
	}
	if resp, _ := s.do("POST", chatPath, plainChat, "x-sim-fault: none"); resp.StatusCode != 200 {
		t.Errorf("fault=none: %d", resp.StatusCode)
	}
}

func TestStats_CountWhatHappened(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	request := wire("POST", chatPath, plainChat, "Connection: close")
	raw, err := s.raw("POST", chatPath, plainChat)
	if err != nil {
		t.Fatal(err)
	}
	var chat struct {
		Usage struct {
			In  int64 `json:"prompt_tokens"`
			Out int64 `json:"completion_tokens"`
		}
	}
	_, answer, _ := body(t, raw)
	if err := json.Unmarshal([]byte(answer), &chat); err != nil {
		t.Fatal(err)
	}
	st := s.Stats()
	if st.Calls["chat"] != 1 || st.Completed != 1 || st.Connections != 1 || st.Total() != 1 {
		t.Errorf("%+v", st)
	}
	if st.BytesIn != int64(len(request)) || st.BytesOut != int64(len(raw)) {
		t.Errorf("%d bytes in, %d out; want %d, %d", st.BytesIn, st.BytesOut, len(request), len(raw))
	}
	if st.TokensInput != chat.Usage.In || st.TokensOutput != chat.Usage.Out {
		t.Errorf("%+v, usage %+v", st, chat.Usage)
	}
	s.do("POST", chatPath, plainChat, "x-sim-fault: 429+gzip")
	_, got := s.do("GET", "/sim/stats", "")
	var remote Stats
	if err := json.Unmarshal([]byte(got), &remote); err != nil || remote.Calls["chat"] != 2 || remote.Faults["429"] != 1 || remote.Faults["gzip"] != 0 {
		t.Errorf("%s, %v", got, err)
	}
	if resp, _ := s.do("GET", "/sim/nowhere", ""); resp.StatusCode != 404 {
		t.Errorf("unknown endpoint: %d", resp.StatusCode)
	}
}

func TestTools_ExamplesFitTheirSchema(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	const schema = `{"type":"object","properties":{"s":{"type":"string"},"n":{"type":"number"},"i":{"type":["integer","null"]},` +
		`"b":{"type":"boolean"},"a":{"type":"array","items":{"type":"object","properties":{"e":{"enum":[7,8]}}}},"z":{"type":"null"}}}`
	_, got := s.do("POST", chatPath, `{"model":"m","messages":[],"tools":[{"type":"function","function":{"name":"f","parameters":`+schema+`}}]}`)
	var chat struct {
		Choices []struct {
			Message struct {
				ToolCalls []struct{ Function struct{ Arguments string } } `json:"tool_calls"`
			}
		}
	}
	if err := json.Unmarshal([]byte(got), &chat); err != nil || len(chat.Choices[0].Message.ToolCalls) != 1 {
		t.Fatalf("%s, %v", got, err)
	}
	var v struct {
		S string
		N float64
		I int
		B bool
		A []struct{ E int }
		Z any
	}
	arguments := chat.Choices[0].Message.ToolCalls[0].Function.Arguments
	if err := json.Unmarshal([]byte(arguments), &v); err != nil || v.S == "" || !v.B || len(v.A) != 1 || v.A[0].E != 7 {
		t.Errorf("%s, %v", arguments, err)
	}
}

func TestMedia_AreCountedInEveryDialect(t *testing.T) {
	t.Parallel()
	check := func(content string, image, audio int) {
		t.Helper()
		var m media
		m.count(gjson.Parse(`[{"role":"user","content":[{"type":"text","text":"x"},`+content+`]}]`), 0)
		if m.image != image || m.audio != audio || m.bytes != len(content) {
			t.Errorf("%.80s: got %+v, want %d image and %d audio tokens in %d bytes", content, m, image, audio, len(content))
		}
	}
	data := strings.Repeat("A", 4998)
	check(`{"type":"image_url","image_url":{"url":"https://x"}}`, openAIImageHigh, 0)
	check(`{"type":"image_url","image_url":{"url":"https://x","detail":"low"}}`, openAIImageLow, 0)
	check(`{"type":"input_image","image_url":"https://x","detail":"low"}`, openAIImageLow, 0)
	check(`{"type":"input_audio","input_audio":{"data":"`+data+`","format":"wav"}}`, 0, 6)
	check(`{"type":"image","source":{"type":"base64","media_type":"image/png","data":"`+data+`"}}`, anthropicImage, 0)
	check(`{"inlineData":{"mimeType":"image/png","data":"`+data+`"}}`, geminiImage, 0)
	check(`{"inline_data":{"mime_type":"audio/wav","data":"`+data+`"}}`, 0, 6)
	check(`{"fileData":{"mimeType":"video/mp4","fileUri":"x"}}`, geminiImage, 0)
	document := `{"type":"document","source":{"type":"base64","data":"` + data + `"}}`
	check(document, 1+len(document)/documentBytesPerToken, 0)

	const image = `{"type":"image","source":{"type":"url","url":"x"}}`
	var m media
	m.count(gjson.Parse(`[{"type":"tool_result","content":[`+image+`]}]`), 0)
	if m.image != anthropicImage || m.bytes != len(image) {
		t.Errorf("image in a tool's result: %+v", m)
	}
}
