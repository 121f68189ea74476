package storage

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// killed counts the engines that a command has begun, and can kill the last one.
type killable struct {
	last atomic.Pointer[exec.Cmd]
	make func() *exec.Cmd
}

func (k *killable) command() *exec.Cmd {
	c := k.make()
	k.last.Store(c)
	return c
}

func (k *killable) kill() {
	if c := k.last.Load(); c != nil && c.Process != nil {
		_ = c.Process.Kill()
	}
}

// healthy waits until the store answers.
func healthy(t *testing.T, s *Store) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); s.Health() != nil; {
		if time.Now().After(end) {
			t.Fatalf("not healthy: %v", s.Health())
		}
		<-time.After(10 * time.Millisecond)
	}
}

func TestSupervisor_KilledEnginesLoseNothingThatWasStored(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	k := &killable{make: engineCommand(dir, 0)}
	s := Start(Options{Dir: dir, Command: k.command, Log: zerolog.Nop()})
	defer s.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var last uint64
	for round := range 4 {
		healthy(t, s)
		delay := time.Duration(rand.IntN(30)) * time.Millisecond
		time.AfterFunc(delay, k.kill)
		for deadline := time.Now().Add(delay + 20*time.Millisecond); time.Now().Before(deadline); {
			n, err := s.Append(ctx, &Snapshot{last + 1, []byte("s")}, fmt.Appendf(nil, "entry %d", last+1))
			if err != nil || n != last+1 {
				t.Fatalf("round %d: append: %d, %v; want %d", round, n, err, last+1)
			}
			last = n
		}
	}
	healthy(t, s)
	next := uint64(1)
	ok(t, s.Entries(ctx, 0, 1<<62, func(n uint64, e []byte) error {
		if n != next || string(e) != fmt.Sprintf("entry %d", next) {
			t.Errorf("entry %d: %q, want number %d", n, e, next)
		}
		next = n + 1
		return nil
	}))
	if current, err := s.Current(ctx); next != last+1 || current.Version != last || err != nil {
		t.Errorf("%d entries, current %d, %v; want %d of both", next-1, current.Version, err, last)
	}
	if restarts, aside := s.Restarts(); restarts < 3 || aside != 0 { // the last death may not have been noticed yet
		t.Errorf("%d restarts, %d set aside", restarts, aside)
	}
}

func TestSupervisor_CallsFailAtOnceWhileTheEngineIsAway(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	opened := make(chan struct{}, 10)
	s := Start(Options{Dir: dir, Log: zerolog.Nop(), Opened: func() { opened <- struct{}{} },
		Command: func() *exec.Cmd { return exec.Command(filepath.Join(dir, "no such program")) }})
	defer s.Close()
	s.Wait(t.Context())
	if err := s.Health(); !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "no such program") {
		t.Errorf("health: %v", err)
	}
	for name, call := range map[string]func() error{
		"put":     func() error { return s.PutValue(t.Context(), "n", "n", nil, 0) },
		"get":     func() error { _, err := s.Value(t.Context(), "n", "n"); return err },
		"scan":    func() error { _, err := s.Series(t.Context(), 0); return err },
		"backup":  func() error { return s.Backup(t.Context(), &bytes.Buffer{}) },
		"compact": func() error { return s.Compact(t.Context()) },
	} {
		if err := call(); !errors.Is(err, ErrUnavailable) {
			t.Errorf("%s: %v", name, err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := s.Append(ctx, nil, []byte("x")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("append waits until its context ends: %v", err)
	}
	if len(opened) > 0 {
		t.Error("said to be opened")
	}
}

func TestSupervisor_CancelledCallsEnd(t *testing.T) {
	t.Parallel()
	s := startAt(t, t.TempDir(), 0)
	fill(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	err := s.Values(ctx, "n", func(string, []byte) error { cancel(); return ctx.Err() })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if err := s.PutValue(ctx, "n", "n", nil, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	ok(t, s.PutValue(t.Context(), "n", "n", nil, 0))
}

// Every kind of file that badger has, cut and with bytes flipped: the store comes up all the same, with what it had or, the
// damaged files set aside, without.
func TestSupervisor_DamagedFiles(t *testing.T) {
	t.Parallel()
	template := t.TempDir()
	s := open(t, template)
	fill(t, s)
	ok(t, s.Close())
	k := &killable{make: engineCommand(template, 0)}
	s = Start(Options{Dir: template, Command: k.command, Log: zerolog.Nop()})
	healthy(t, s)
	fill2 := bytes.Repeat([]byte("z"), 3000)
	for i := range 20 {
		ok(t, s.PutValue(t.Context(), "m", fmt.Sprint(i), fill2, 0))
	}
	k.kill()
	ok(t, s.Close())

	files, err := filepath.Glob(filepath.Join(template, dataFolder, "*"))
	ok(t, err)
	kinds := map[string]bool{}
	for _, file := range files {
		kinds[filepath.Ext(file)+map[bool]string{true: filepath.Base(file)}[filepath.Ext(file) == ""]] = true
	}
	for _, kind := range []string{".sst", ".mem", ".vlog", "MANIFEST", "KEYREGISTRY", "DISCARD"} {
		if !kinds[kind] {
			t.Errorf("no file of kind %s: %v", kind, kinds)
		}
	}
	for _, file := range files {
		for name, damage := range damages {
			t.Run(filepath.Base(file)+"/"+name, func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				ok(t, os.CopyFS(dir, os.DirFS(template)))
				path := filepath.Join(dir, dataFolder, filepath.Base(file))
				content, err := os.ReadFile(path)
				ok(t, err)
				ok(t, os.WriteFile(path, damage(content), 0o600))

				log := &bytes.Buffer{}
				s := Start(Options{Dir: dir, Command: engineCommand(dir, 0), Log: zerolog.New(zerolog.SyncWriter(log))})
				defer s.Close()
				healthy(t, s)
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				defer cancel()
				_, err = s.Append(ctx, &Snapshot{9, []byte("after")}, []byte("after"))
				ok(t, err)
				n := 0
				err = s.Values(ctx, "n", func(string, []byte) error { n++; return nil })
				_, aside := s.Restarts()
				t.Logf("%d of 50 values, %v, %d set aside", n, err, aside)
				if n < 50 && err == nil && aside == 0 && !strings.HasSuffix(path, ".mem") {
					t.Errorf("%d of 50 values are left and nobody was told", n)
				}
				if aside > 0 && !strings.Contains(log.String(), "kept_in") {
					t.Errorf("set aside without a word: %s", log)
				}
			})
		}
	}
}

var damages = map[string]func([]byte) []byte{
	"half":  func(b []byte) []byte { return b[:len(b)/2] },
	"empty": func([]byte) []byte { return nil },
	"flips": func(b []byte) []byte {
		b = bytes.Clone(b)
		end := min(len(b), 8000) // mapped files are mostly empty
		for i := 3; i < end; i += 97 {
			b[i] ^= 0x55
		}
		return b
	},
	"tail": func(b []byte) []byte { return b[:max(0, len(b)-5)] },
}

// An engine whose server is gone ends, also when it can't write out what it holds.
func TestServeEngine_EndsWithoutItsDirectory(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state")
	k := &killable{make: engineCommand(dir, 0)}
	s := Start(Options{Dir: dir, Command: k.command, Log: zerolog.Nop()})
	healthy(t, s)
	fill(t, s)
	ok(t, os.RemoveAll(dir))
	began := time.Now()
	ok(t, s.Close())
	if k.last.Load().ProcessState == nil || time.Since(began) > killTimeout+10*time.Second {
		t.Errorf("it took %v: %v", time.Since(began), k.last.Load().ProcessState)
	}
	// Without anybody to kill it, too.
	dir = filepath.Join(t.TempDir(), "state")
	c := engineCommand(dir, 0)()
	in, err := c.StdinPipe()
	ok(t, err)
	out, err := c.StdoutPipe()
	ok(t, err)
	ok(t, c.Start())
	if kind, _, err := readFrame(bufio.NewReader(out)); kind != frameHello || err != nil {
		t.Fatalf("got %c, %v", kind, err)
	}
	ok(t, os.RemoveAll(dir))
	ok(t, in.Close())
	ended := make(chan struct{})
	go func() { _ = c.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(closeTimeout + 20*time.Second):
		_ = c.Process.Kill()
		t.Error("it is still there")
	}
}

func TestSetAside_IsBounded(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for i := range asideAllowed + 1 {
		ok(t, os.MkdirAll(filepath.Join(dir, dataFolder), 0o700))
		to, err := setAside(dir, time.Unix(int64(i), 0))
		if i < asideAllowed && err != nil {
			t.Fatal(err)
		}
		if i == asideAllowed && err == nil {
			t.Errorf("set aside once more: %s", to)
		}
	}
}

// lossy stores a write and then says that the engine is away, once.
type lossy struct {
	backend
	lost bool
}

func (l *lossy) apply(ctx context.Context, ops []op, sync bool) error {
	err := l.backend.apply(ctx, ops, sync)
	if !l.lost && err == nil {
		l.lost = true
		return ErrUnavailable
	}
	return err
}

// The first entry ever has number 1, also when the engine dies with the answer on its way.
func TestAppend_AnswerLost(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	engine, err := s.backend()
	ok(t, err)
	l := &lossy{backend: engine}
	s.backend = func() (backend, error) { return l, nil }
	for want := uint64(1); want <= 2; want++ {
		if n, err := s.Append(t.Context(), nil, fmt.Appendf(nil, "entry %d", want)); n != want || err != nil {
			t.Errorf("got %d, %v; want %d", n, err, want)
		}
		l.lost = false
	}
	var entries []string
	ok(t, s.Entries(t.Context(), 0, 1<<62, func(_ uint64, e []byte) error { entries = append(entries, string(e)); return nil }))
	if len(entries) != 2 {
		t.Errorf("stored %q", entries)
	}
}
