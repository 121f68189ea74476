package load

import (
	"bytes"
	"strings"
	"testing"

	"github.com/tidwall/gjson"
)

func TestDriver_RequestsDependOnSeedAndNumberOnly(t *testing.T) {
	t.Parallel()
	mix := []Kind{plain, plain}
	mix[0].Prompt.Sigma, mix[0].Leave, mix[1].Weight = 1, .5, 3
	mix[1].Prefixes, mix[1].PrefixTokens = 2, 50
	one, same := newDriver(t, Options{Arrivals: at(), Kinds: mix, MaxInFlight: 1}), newDriver(t, Options{Arrivals: at(), Kinds: mix, MaxInFlight: 1})
	other := newDriver(t, Options{Arrivals: at(), Kinds: mix, MaxInFlight: 1, Seed: 1})
	const n = 4000
	var second, left, differ int
	prefixes := map[string]int{}
	for i := n - 1; i >= 0; i-- {
		r, again := one.request(uint64(i), &Arrival{}), same.request(uint64(i), &Arrival{})
		if !bytes.Equal(r.body, again.body) || r.leaveWait != again.leaveWait || r.kind != again.kind {
			t.Fatalf("request %d differs: %s and %s", i, r.body, again.body)
		}
		if !bytes.Equal(other.request(uint64(i), &Arrival{}).body, r.body) {
			differ++
		}
		second += r.kind
		if r.kind == 1 {
			prefixes[strings.SplitN(string(r.body), `"`, 16)[13]]++
		} else if r.leaveWait > 0 {
			left++
		}
	}
	if differ != n {
		t.Errorf("another seed made %d of %d requests equal", n-differ, n)
	}
	if share := float64(second) / n; share < .72 || share > .78 {
		t.Errorf("the second kind's share is %.3f, want 0.75", share)
	}
	if share := float64(left) / float64(n-second); share < .45 || share > .55 {
		t.Errorf("%.3f of the clients leave, want 0.5", share)
	}
	if len(prefixes) != 2 {
		t.Errorf("got %d system prompts, want 2: %v", len(prefixes), prefixes)
	}
}

func TestRequest_HasTheSizeOfItsArrival(t *testing.T) {
	t.Parallel()
	d := newDriver(t, Options{Arrivals: at(), Kinds: []Kind{plain}, MaxInFlight: 1})
	prompt := func(n uint64, a Arrival) (text, limit string) {
		t.Helper()
		body := string(d.request(n, &a).body)
		return gjson.Get(body, "messages.0.content").Str, gjson.Get(body, "max_completion_tokens").Raw
	}
	one, limit := prompt(1, Arrival{Input: 1300, Output: 77, Blocks: []uint64{5, 6, 7}})
	two, none := prompt(2, Arrival{Input: 1100, Blocks: []uint64{5, 6}})
	if len(one) != 4*1300-1 || limit != "77" || len(two) != 4*1100-1 || none != "" {
		t.Errorf("got %d and %d bytes, limits %s and %s", len(one), len(two), limit, none)
	}
	const shared = 2 * blockTokens * wordSize
	if one[:shared] != two[:shared] || one[shared:shared+100] == two[shared:shared+100] {
		t.Error("want the two common blocks to be the same text, and not more")
	}
}

func TestKind_URL(t *testing.T) {
	t.Parallel()
	check := func(api API, base, want string) {
		t.Helper()
		k := Kind{API: api, BaseURL: base, Model: "m"}
		if got := k.url(); got != want {
			t.Errorf("%v at %s: got %s, want %s", api, base, got, want)
		}
	}
	check(Chat, "http://x/v1", "http://x/v1/chat/completions")
	check(Embeddings, "http://x/embeddings", "http://x/embeddings/embeddings")
	check(Messages, "http://x", "http://x/v1/messages")
	check(Messages, "http://x/anthropic/v1", "http://x/anthropic/v1/messages")
	check(Generate, "http://x/v1", "http://x/v1/v1beta/models/m:generateContent")
	check(Generate, "http://x/v1beta", "http://x/v1beta/models/m:generateContent")
}
