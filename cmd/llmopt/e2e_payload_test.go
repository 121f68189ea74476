package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
	"github.com/openai/openai-go/v3"
	openaioption "github.com/openai/openai-go/v3/option"
)

// noise is n bytes that do not repeat in a way that would hide a piece that is lost or doubled.
func noise(n int) []byte {
	b := make([]byte, 0, n+32)
	for sum := sha256.Sum256([]byte("noise")); len(b) < n; sum = sha256.Sum256(sum[:]) {
		b = append(b, sum[:]...)
	}
	return b[:n]
}

func TestE2E_AudioUpload(t *testing.T) {
	t.Parallel()
	p := newPair(t, "")
	sound := noise(3 << 20)
	params := func() openai.AudioTranscriptionNewParams {
		return openai.AudioTranscriptionNewParams{
			Model: "gpt-4o-transcribe", File: openai.File(bytes.NewReader(sound), "a.mp3", "audio/mpeg"), Language: openai.String("en"),
		}
	}
	// The SDK draws a boundary for each form, and the simulator makes ids of the body, so results are compared, not headers.
	plain := func(c *clients) string {
		got, err := c.openai.Audio.Transcriptions.New(t.Context(), params())
		if err != nil {
			t.Fatal(err)
		}
		return got.RawJSON()
	}
	streamed := func(c *clients) string {
		s := c.openai.Audio.Transcriptions.NewStreaming(t.Context(), params())
		return show(drain(s.Next, s.Current, s.Err))
	}
	for name, call := range map[string]func(*clients) string{"plain": plain, "stream": streamed} {
		want, got := call(p.straight), call(p.around)
		if got != want {
			t.Errorf("%s: %s", name, difference(got, want))
		}
		if size := fmt.Sprintf("file a.mp3 of %d bytes", len(sound)); name == "plain" && !strings.Contains(got, size) || len(got) < 50 {
			t.Errorf("%s: got %s, want %q", name, got, size)
		}
	}
	p.settled()
}

// 20 MB come down and 50 MB go up through the gateway without a byte lost, doubled or changed.
func TestE2E_LargeFilesBothWays(t *testing.T) {
	t.Parallel()
	p := newPair(t, "")
	const down, up = 20 << 20, 50 << 20
	p.same("download", func(c *clients) any {
		resp, err := c.openai.Files.Content(t.Context(), "file-1", openaioption.WithHeader("x-sim-size", fmt.Sprint(down)))
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		h := sha256.New()
		n, err := io.Copy(h, resp.Body)
		if err != nil || n != down {
			t.Errorf("%d bytes came, %v", n, err)
		}
		return h.Sum(nil)
	})
	content := noise(up)
	for name, length := range map[string]int64{"with a length": up, "in chunks": -1} {
		p.same(name, func(c *clients) any {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.openaiURL+"/echo", io.MultiReader(bytes.NewReader(content)))
			if err != nil {
				return err
			}
			req.ContentLength = length
			req.Header = http.Header{"Authorization": {"Bearer key"}, "X-Sim-Echo": {"true"}}
			resp, err := (&http.Client{Transport: c.wire.transport}).Do(req)
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			text, err := io.ReadAll(resp.Body)
			if want := fmt.Sprintf("%x", sha256.Sum256(content)); err != nil || !strings.Contains(string(text), want) {
				t.Errorf("%s: the provider has seen %.300s, %v; want sha256 %s", name, text, err, want)
			}
			// What the SDK sends beside it makes an answer on the recorded wire, too.
			return either(c.openai.Models.Get(t.Context(), "gpt-4o"))
		})
	}
}

// Compressed answers pass as they are, whole and streamed, and say what they say without the gateway.
func TestE2E_CompressedAnswers(t *testing.T) {
	t.Parallel()
	p := newPair(t, "tokens=60")
	decoders := map[string]func(io.Reader) (io.Reader, error){
		"gzip": func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) },
		"br":   func(r io.Reader) (io.Reader, error) { return brotli.NewReader(r), nil },
		"zstd": func(r io.Reader) (io.Reader, error) {
			d, err := zstd.NewReader(r)
			if err != nil {
				return nil, err
			}
			return d.IOReadCloser(), nil
		},
	}
	for coding, decode := range decoders {
		for _, stream := range []bool{false, true} {
			body := fmt.Sprintf(`{"model":"gpt-4o","stream":%t,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"hello"}]}`, stream)
			result := p.same(fmt.Sprintf("%s, stream %t", coding, stream), func(c *clients) any {
				return c.bare(t.Context(), http.MethodPost, strings.TrimSuffix(c.openaiURL, "/")+"/chat/completions", body, "Accept-Encoding", coding, "X-Sim-Fault", coding)
			})
			list, ok := result.([]any)
			if !ok {
				t.Errorf("%s: %s", coding, show(result))
				continue
			}
			if got := p.around.wire.last().Header.Get("Content-Encoding"); got != coding {
				t.Errorf("%s: content-encoding %q", coding, got)
			}
			r, err := decode(strings.NewReader(list[1].(string)))
			if err != nil {
				t.Errorf("%s: %v", coding, err)
				continue
			}
			if text, err := io.ReadAll(r); err != nil || !strings.Contains(string(text), `"completion_tokens":60`) {
				t.Errorf("%s: decoded %.200q, %v", coding, text, err)
			}
		}
	}
	p.settled()
}
