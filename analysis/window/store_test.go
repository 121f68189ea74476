package window

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

type storedSlot struct {
	key    Key
	level  Level
	number int64
	data   []byte
}

// run records at random for a while, as a proxy does, with the clock told every second.
func run(r *Recorder, rng *rand.Rand, from time.Time, d time.Duration, each func(now time.Time)) {
	keys := []Key{{"a", "r", "light", "treated"}, {"b", "r", "heavy", "treated"}}
	for now := from; now.Before(from.Add(d)); now = now.Add(time.Second) {
		r.Advance(now)
		if rng.IntN(4) == 0 {
			o := Observation{
				Outcome: Outcome(rng.IntN(3)), Duration: time.Duration(rng.IntN(1e9)), TTFT: time.Duration(rng.IntN(1e8)),
				TokensInput: rng.Int64N(1000), TokensOutput: rng.Int64N(100), CostNanoUSD: rng.Int64N(1e6),
			}
			r.Series(keys[rng.IntN(2)]).Record(now, &o)
		}
		if each != nil {
			each(now)
		}
	}
}

// fingerprint is all that summaries of the last week say, at every level.
func fingerprint(r *Recorder, now time.Time) string {
	var b strings.Builder
	for _, s := range r.Select(nil) {
		for _, back := range []time.Duration{time.Minute, 10 * time.Minute, 50 * time.Minute, 5 * time.Hour, 100 * time.Hour} {
			for _, step := range r.Steps(Last(now, back), 0, s) {
				if step.Requests() > 0 {
					p50, _ := step.Latency().Quantile(.5)
					fmt.Fprintln(&b, s.Key(), back, step.From.Unix(), step.To.Unix(), step.Requests(), step.Tokens(), step.Cost().Sum(), p50, step.TTFT().Count())
				}
			}
		}
	}
	return b.String()
}

// What is stored as it becomes complete, and restored as a restart does it, gives the same windows.
func TestRecorder_StoredSlotsGiveTheSameWindows(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	r := NewRecorder(10)
	from := time.Unix(1_800_000_000, 0)
	var stored []storedSlot
	var written [LevelsEnd]int64
	for l := range LevelsEnd {
		written[l] = l.Number(from)
	}
	end := from.Add(9*time.Hour + 13*time.Minute + 37*time.Second)
	var now time.Time
	run(r, rng, from, end.Sub(from), func(at time.Time) {
		now = at
		for l := range LevelsEnd {
			to := l.Complete(now)
			r.Slots(l, written[l], to, func(k Key, number int64, data []byte) bool {
				stored = append(stored, storedSlot{k, l, number, bytes.Clone(data)})
				return true
			})
			written[l] = max(written[l], to)
		}
	})
	// What is not complete yet gets lost; the rest of the test speaks of what is older.
	now = now.Add(time.Minute)
	for at := now.Add(-time.Minute); at.Before(now); at = at.Add(time.Second) {
		r.Advance(at)
	}
	for l := range LevelsEnd {
		r.Slots(l, written[l], l.Complete(now), func(k Key, number int64, data []byte) bool {
			stored = append(stored, storedSlot{k, l, number, bytes.Clone(data)})
			return true
		})
	}
	again := NewRecorder(10)
	restorer := again.NewRestorer(now)
	hours, minutes := Hours.Number(now)-1, Minutes.Number(now)-1
	for _, s := range stored {
		at := s.level.Start(s.number)
		var wanted bool
		switch s.level {
		case Hours:
			wanted = s.number < hours
		case Minutes:
			wanted = !at.Before(Hours.Start(hours)) && s.number < minutes
		default:
			wanted = !at.Before(Minutes.Start(minutes))
		}
		if !wanted {
			continue
		}
		if err := restorer.Add(s.key, s.level, s.number, s.data); err != nil {
			t.Fatal(err)
		}
	}
	restorer.Close()
	if got, want := fingerprint(again, now), fingerprint(r, now); got != want || len(want) < 1000 {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	sum := &Summary{}
	for _, s := range stored {
		if s.level == TenSeconds {
			if err := sum.AddStored(s.data); err != nil {
				t.Fatal(err)
			}
		}
	}
	if want := r.Sum(Last(now, 10*time.Hour), r.Select(nil)...); sum.Requests() != want.Requests() || sum.Cost().Sum() != want.Cost().Sum() {
		t.Errorf("the stored slots hold %d attempts, want %d", sum.Requests(), want.Requests())
	}
}

func TestRecorder_RestoreRefusesWhatItDidNotWrite(t *testing.T) {
	t.Parallel()
	r := NewRecorder(10)
	now := time.Unix(1_800_000_000, 0)
	run(r, rand.New(rand.NewPCG(1, 2)), now, time.Minute, nil)
	now = now.Add(time.Minute)
	var data []byte
	r.Slots(Hours, Hours.Number(now), Hours.Number(now)+1, func(_ Key, _ int64, d []byte) bool {
		data = bytes.Clone(d)
		return false
	})
	if len(data) == 0 {
		t.Fatal("nothing stored")
	}
	for i := range data {
		bad := bytes.Clone(data)
		bad[i] ^= 1
		if err := r.NewRestorer(now).Add(Key{}, Hours, 1, bad); !errors.Is(err, ErrMalformed) {
			t.Errorf("byte %d changed: %v", i, err)
		}
		if err := new(Summary).AddStored(data[:i]); !errors.Is(err, ErrMalformed) {
			t.Errorf("cut to %d: %v", i, err)
		}
	}
}

// Stored outcomes are numbers: when one changes its meaning, slotVersion has to change too.
func TestOutcomes_AreStoredByNumber(t *testing.T) {
	t.Parallel()
	const want = "ok client_error rate_limited upstream_error connect timeout_first_byte timeout_idle timeout_total broken stream_error canceled refused"
	if got := strings.Join(outcomeNames[:], " "); got != want || slotVersion != 1 {
		t.Errorf("got %q in version %d", got, slotVersion)
	}
}

func FuzzKey(f *testing.F) {
	b, _ := Key{"a", "b", "c", "d"}.AppendBinary(nil)
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		var k, k2 Key
		if k.UnmarshalBinary(b) != nil {
			return
		}
		again, _ := k.AppendBinary(nil)
		if err := k2.UnmarshalBinary(again); err != nil || k != k2 {
			t.Errorf("%q becomes %+v, then %+v, %v", b, k, k2, err)
		}
	})
}
