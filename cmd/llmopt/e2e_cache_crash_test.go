package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// truth is what a provider says to a question: who has asked it, what it is, and up to 40 KB that depend on both, so that an answer which is torn or made of
// two shows.
func truth(caller, question string) string {
	said := caller + " asks " + question + ":"
	sum := sha256.Sum256([]byte(said))
	b := []byte(said)
	for range int(sum[0]) * int(sum[1]) / 50 {
		b = append(append(b, ' '), hex.EncodeToString(sum[:14])...)
		sum = sha256.Sum256(sum[:])
	}
	return string(b)
}

// truthful is a provider that says the truth, streamed in pieces or not.
func truthful(t *testing.T) (url string, calls *atomic.Int64) {
	t.Helper()
	calls = &atomic.Int64{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var q struct {
			Stream   bool
			Messages []struct{ Content string }
		}
		if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
			return // the gateway was killed while it asked
		}
		calls.Add(1)
		said := truth(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), q.Messages[0].Content)
		const usage = `"usage":{"prompt_tokens":5,"completion_tokens":5,"total_tokens":10}`
		const head = `{"id":"chatcmpl-1","created":1700000000,"model":"gpt-4o-mini","object":`
		if !q.Stream {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, head+`"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":%q},"finish_reason":"stop"}],%s}`, said, usage)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		for len(said) > 0 {
			n := min(len(said), 1500)
			fmt.Fprintf(w, "data: "+head+`"chat.completion.chunk","choices":[{"index":0,"delta":{"role":"assistant","content":%q},"finish_reason":null}]}`+"\n\n", said[:n])
			said = said[n:]
		}
		fmt.Fprint(w, "data: "+head+`"chat.completion.chunk","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}`+"\n\n")
		fmt.Fprint(w, "data: "+head+`"chat.completion.chunk","choices":[],`+usage+"}\n\ndata: [DONE]\n\n")
	}))
	t.Cleanup(s.Close)
	return s.URL, calls
}

var errCutOff = errors.New("the answer is not whole")

// askForTruth is what a gateway says, in whole, and where it had that from.
func askForTruth(client *http.Client, url, caller, question string, stream bool) (said, from string, err error) {
	body := fmt.Sprintf(cachedBody, question, stream)
	req, err := http.NewRequest(http.MethodPost, url+"/v1/chat/completions", strings.NewReader(body))
	if err != nil {
		return "", "", err
	}
	req.Header.Set("Authorization", "Bearer "+caller)
	resp, err := client.Do(req)
	if err != nil {
		return "", "", err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		return "", "", errors.Join(err, errCutOff)
	}
	type choices struct {
		Choices []struct{ Message, Delta struct{ Content string } }
	}
	if !stream {
		var answer choices
		if err := json.Unmarshal(raw, &answer); err != nil {
			return "", "", err
		}
		return answer.Choices[0].Message.Content, resp.Header.Get("x-llmopt-cache"), nil
	}
	lines, done := bufio.NewScanner(bytes.NewReader(raw)), false
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		data, isData := strings.CutPrefix(lines.Text(), "data: ")
		var event choices
		switch {
		case !isData:
		case data == "[DONE]":
			done = true
		case json.Unmarshal([]byte(data), &event) != nil:
			return "", "", errCutOff
		case len(event.Choices) > 0:
			said += event.Choices[0].Delta.Content
		}
	}
	if !done {
		return "", "", errCutOff
	}
	return said, resp.Header.Get("x-llmopt-cache"), nil
}

// interrogation asks a server questions and checks what it says.
type interrogation struct {
	t      *testing.T
	client *http.Client
	hits   atomic.Int64
}

// ask asks question i; false: there was no whole answer.
func (q *interrogation) ask(url string, i int, stream bool) bool {
	caller, question := fmt.Sprintf("caller-%d", i%4), fmt.Sprintf("question %d", i)
	said, from, err := askForTruth(q.client, url, caller, question, stream)
	if err != nil {
		return false
	}
	if want := truth(caller, question); said != want {
		q.t.Errorf("%s, %s, from the cache: %q; said is\n%.200q, want\n%.200q", caller, question, from, said, want)
	}
	if from == "hit" {
		q.hits.Add(1)
	}
	return true
}

// Servers are killed while they write many answers to the disk, and their files are damaged while they are down: what is given out afterwards is what the
// provider had said to just this question of just this caller, whole, or it is asked again. The server starts in any case.
func TestCrash_CacheNeverLies(t *testing.T) {
	t.Parallel()
	rounds := 5
	if n, err := strconv.Atoi(os.Getenv("CRASH_ROUNDS")); err == nil {
		rounds = n
	}
	const workers, each = 6, 120
	up, calls := truthful(t)
	dir := filepath.Join(t.TempDir(), "state")
	file := newSettingsFile(t, providerAt(up)+cacheOn+"disk = \"128MiB\"\n")
	q := &interrogation{t: t, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: workers, DisableCompression: true}, Timeout: 20 * time.Second}}
	asked, damaged := 0, "nothing"
	for round := range rounds {
		c := file.start("OPTIMIZER_STORAGE__DIR="+dir, "OPTIMIZER_STORAGE__MIN_FREE=0")
		eventually(t, "the disk is there", 20*time.Second, func() bool { return c.metric("llmopt_cache_disk_up") == 1 })
		if round > 0 && damaged == "nothing" {
			eventually(t, "what was on disk is known", 20*time.Second, func() bool { return c.metric(`llmopt_cache_entries{tier="disk"}`) > 0 })
		}
		var again sync.WaitGroup
		before := q.hits.Load()
		for w := range workers {
			again.Go(func() {
				for i := w; i < asked; i += workers {
					if !q.ask(c.proxy, i, (i+round)%3 == 0) {
						t.Errorf("round %d: no answer to question %d", round, i)
					}
				}
			})
		}
		again.Wait()
		hits := q.hits.Load() - before
		t.Logf("round %d, after damage to %s: %d of %d from the cache, %.0f reads went wrong, %.0f not what had been stored", round, damaged, hits, asked,
			c.metric("llmopt_cache_disk_failures_total"), c.metric("llmopt_cache_damaged_total"))
		if round > 0 && damaged == "nothing" && hits == 0 {
			t.Errorf("round %d: nothing has outlived the crash", round)
		}

		var wg sync.WaitGroup
		var next atomic.Int64
		next.Store(int64(asked))
		for w := range workers {
			wg.Go(func() {
				for i := int(next.Add(1)) - 1; i < asked+10*each && q.ask(c.proxy, i, (i+w)%2 == 0); i = int(next.Add(1)) - 1 {
				}
			})
		}
		eventually(t, "many are asked", 20*time.Second, func() bool { return next.Load() > int64(asked+each) })
		<-time.After(time.Duration(rand.IntN(300)) * time.Millisecond) // writes come in batches
		engines := enginesOf(c)
		c.signal(syscall.SIGKILL)
		if round%2 == 1 {
			for _, p := range engines {
				_ = p.Kill()
			}
		}
		_ = c.ended(10 * time.Second)
		wg.Wait()
		q.client.CloseIdleConnections()
		asked += each
		eventually(t, "the engines have ended", 20*time.Second, func() bool {
			for _, p := range engines {
				if p.Signal(syscall.Signal(0)) == nil && !isZombie(p.Pid) {
					return false
				}
			}
			return true
		})
		damaged = damage(t, filepath.Join(dir, "cache"), round)
	}
	t.Logf("%d questions, %d calls, %d from the cache", asked, calls.Load(), q.hits.Load())
}

// enginesOf are the processes that a server has begun.
func enginesOf(c *child) (all []*os.Process) {
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", c.cmd.Process.Pid))
	for _, list := range lists {
		text, _ := os.ReadFile(list)
		for field := range strings.FieldsSeq(string(text)) {
			if pid, err := strconv.Atoi(field); err == nil {
				if p, err := os.FindProcess(pid); err == nil {
					all = append(all, p)
				}
			}
		}
	}
	return all
}

// isZombie tells of a process that has ended and whom nobody has asked how.
func isZombie(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, after, _ := strings.Cut(string(stat), ") ")
	return err != nil || strings.HasPrefix(after, "Z")
}

// damage does something else to the files of a folder in each round, and says what.
func damage(t *testing.T, dir string, round int) (done string) {
	t.Helper()
	if round%5 == 0 {
		return "nothing"
	}
	done = []string{"", "a byte of 64 KiB", "a byte of 1 KiB", "the ends", "the contents"}[round%5]
	files := 0
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files++
		b = bytes.TrimRight(b, "\x00") // files are made longer than they are
		flip := func(every int) {
			for at := rand.IntN(every); at < len(b); at += every {
				b[min(at+rand.IntN(every), len(b)-1)] ^= 1 << rand.IntN(8)
			}
		}
		switch round % 5 {
		case 1:
			flip(64 << 10)
		case 2:
			flip(1 << 10)
		case 3:
			return os.Truncate(path, int64(len(b)*2/3))
		case 4:
			for i := range b {
				b[i] = byte(rand.Uint32())
			}
		}
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		_, err = f.WriteAt(b, 0)
		return errors.Join(err, f.Close())
	})
	if err != nil || files == 0 {
		t.Fatalf("%d files damaged, %v", files, err)
	}
	return done
}
