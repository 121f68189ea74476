package storage

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/yamux"
	"github.com/rs/zerolog"
)

const (
	// helloTimeout is the time an engine has to open its files.
	helloTimeout = time.Minute
	// closeTimeout is the time an engine has to write out what it holds when it is told to end; at killTimeout it is helped.
	closeTimeout = 5 * time.Second
	killTimeout  = closeTimeout + 2*time.Second
	// firstPause and longestPause lie between two beginnings of an engine that fails.
	firstPause, longestPause = 200 * time.Millisecond, 5 * time.Second
	// healthyAfter is how long an engine must have run for its end not to be counted with the ones before.
	healthyAfter = time.Minute
	// openingsAllowed is how often in a row an engine may die over opening its files before they count as damaged, livesAllowed how
	// often soon after it.
	openingsAllowed, livesAllowed = 3, 20
	// asideAllowed is how many damaged databases are kept. There is no new beginning past that: something is wrong with the disk.
	asideAllowed = 3
)

// Options say how a Store is kept.
type Options struct {
	Dir    string
	Limits Limits
	// Command makes the command that runs ServeEngine on its standard input and output, with Dir and Limits. It may set
	// standard error; without it the last lines are kept for the log.
	Command func() *exec.Cmd
	// Opened is called each time that an engine has opened the files, before anything else can use it, so that what is in memory
	// can be put in order with what is stored. It must not block for long.
	Opened func()
	// Disposable says that nothing in the database matters: where state would be kept for later, damaged files are removed, and the files are
	// also removed when there is no space to open them.
	Disposable bool
	Log        zerolog.Logger
}

// supervisor keeps an engine's process running.
type supervisor struct {
	options         Options
	remote          atomic.Pointer[remote] // nil: there is none for now
	problem         atomic.Pointer[string] // why; nil: there is none
	openings, lives int                    // that ended in death, in a row
	begun           atomic.Uint64          // processes begun
	aside           atomic.Uint64          // damaged databases set aside

	ctx    context.Context
	stop   context.CancelFunc
	ended  sync.WaitGroup
	opened chan struct{} // closed when an engine has opened the files, or has failed to
	once   sync.Once
}

func newSupervisor(o Options) *supervisor {
	s := &supervisor{options: o, opened: make(chan struct{})}
	s.ctx, s.stop = context.WithCancel(context.Background())
	s.note(errors.New("starting"))
	s.ended.Go(s.run)
	return s
}

// run begins an engine, and another each time that one ends, until close.
func (s *supervisor) run() {
	pause := firstPause
	for s.ctx.Err() == nil {
		started := time.Now()
		err := s.life()
		s.remote.Store(nil)
		if s.ctx.Err() != nil {
			return
		}
		if time.Since(started) > healthyAfter {
			s.lives, pause = 0, firstPause
		}
		s.judge(err)
		s.once.Do(func() { close(s.opened) })
		select {
		case <-s.ctx.Done():
		case <-time.After(pause):
		}
		pause = min(2*pause, longestPause)
	}
}

// judge draws the conclusion from an engine's end.
func (s *supervisor) judge(err error) {
	if known := s.problem.Load(); known == nil || *known != err.Error() { // else it has been said
		what := "storage failed: state is kept in memory until it is back"
		if s.options.Disposable {
			what = "the cache's database failed: there is none on disk until it is back"
		}
		s.options.Log.Error().Err(err).Str("dir", s.options.Dir).Msg(what)
	}
	s.note(err)
	var died *deathError
	switch {
	case !errors.As(err, &died):
	case died.opened:
		s.lives++
		s.openings = 0
	default:
		s.openings++
	}
	if s.options.Disposable && errors.Is(err, ErrFull) {
		_ = os.RemoveAll(filepath.Join(s.options.Dir, dataFolder)) // what can't be removed is in nobody's way but its own
	}
	if !errors.Is(err, ErrDamaged) && s.openings < openingsAllowed && s.lives < livesAllowed {
		return
	}
	s.openings, s.lives = 0, 0
	to, err := setAside(s.options.Dir, time.Now())
	if err != nil {
		s.note(fmt.Errorf("%w, and can't be set aside: %w", ErrDamaged, err))
		s.options.Log.Error().Err(err).Msg("damaged storage can't be set aside")
		return
	}
	s.aside.Add(1)
	if s.options.Disposable {
		s.options.Log.Error().Err(os.RemoveAll(to)).Msg("the cache's database was damaged and is removed: a new one begins")
		return
	}
	s.options.Log.Error().Str("kept_in", to).
		Msg("damaged storage set aside, a new one begins with what is in memory; llmopt state restore brings back a backup")
}

// note says why there is no engine; nil: there is one.
func (s *supervisor) note(err error) {
	if err == nil {
		s.problem.Store(nil)
		return
	}
	text := err.Error()
	s.problem.Store(&text)
}

// deathError is the end of an engine's process that said nothing.
type deathError struct {
	reason string
	opened bool // it had opened the files
}

func (e *deathError) Error() string { return "the engine died: " + e.reason }

// life runs one engine from its beginning to its end.
func (s *supervisor) life() error {
	command := s.options.Command()
	last := &lastWords{}
	if command.Stderr == nil {
		command.Stderr = last
	}
	in, err := command.StdinPipe()
	if err != nil {
		return fmt.Errorf("begin engine: %w", err)
	}
	out, err := command.StdoutPipe()
	if err != nil {
		return fmt.Errorf("begin engine: %w", err)
	}
	if err := command.Start(); err != nil {
		return fmt.Errorf("begin engine: %w", err)
	}
	s.begun.Add(1)
	conn := &pipes{out, in}
	kill := func() { _ = command.Process.Kill() }
	opened, err := s.attend(conn, kill)
	_ = in.Close()
	timer := time.AfterFunc(killTimeout, kill)
	defer timer.Stop()
	status := command.Wait()
	var told *remoteError
	switch {
	case errors.As(err, &told):
		return err
	case command.ProcessState.ExitCode() == exitFull:
		return fmt.Errorf("%s: %w", last, ErrFull)
	case err != nil || status != nil:
		return &deathError{strings.TrimSpace(fmt.Sprintf("%v: %s", status, last)), opened}
	default:
		return &deathError{"it ended by itself", opened}
	}
}

// attend lets an engine be used, until it is gone or the store is closed.
func (s *supervisor) attend(conn *pipes, kill func()) (opened bool, err error) {
	slow := time.AfterFunc(helloTimeout, kill)
	defer slow.Stop()
	stopped := context.AfterFunc(s.ctx, func() { _ = conn.Close() }) // also while it opens
	defer stopped()
	r := bufio.NewReader(conn.Reader)
	switch kind, content, err := readFrame(r); {
	case err != nil:
		return false, fmt.Errorf("open: %w", err)
	case kind == frameError && len(content) > 0:
		return false, errorOf(content[0], string(content[1:]))
	case kind != frameHello:
		return false, errFrame
	}
	slow.Stop()
	if !stopped() {
		return true, nil
	}
	session, err := yamux.Client(&pipes{r, conn.WriteCloser}, yamuxConfig())
	if err != nil {
		return true, fmt.Errorf("open: %w", err)
	}
	defer session.Close()
	s.remote.Store(&remote{session: session, stuck: kill})
	s.note(nil)
	s.once.Do(func() { close(s.opened) })
	if s.options.Opened != nil {
		s.options.Opened()
	}
	select {
	case <-s.ctx.Done():
		return true, nil
	case <-session.CloseChan():
		return true, io.ErrUnexpectedEOF
	}
}

// backend is the engine in use.
func (s *supervisor) backend() (backend, error) {
	if r := s.remote.Load(); r != nil {
		return r, nil
	}
	if problem := s.problem.Load(); problem != nil {
		return nil, fmt.Errorf("%w: %s", ErrUnavailable, *problem)
	}
	return nil, ErrUnavailable
}

// close ends the engine after the calls under way and waits for it.
func (s *supervisor) close() error {
	s.stop()
	s.ended.Wait()
	return nil
}

// lastWords keeps the beginning of what a dying process says: the first lines tell why.
type lastWords struct {
	mu   sync.Mutex
	text []byte
}

const lastWordsSize = 400

func (l *lastWords) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, p[:min(len(p), lastWordsSize-len(l.text))]...)
	return len(p), nil
}

func (l *lastWords) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.TrimSpace(string(l.text))
}

// setAside renames damaged files, which are never deleted.
func setAside(dir string, now time.Time) (to string, err error) {
	kept, err := filepath.Glob(filepath.Join(dir, "damaged-*"))
	if err != nil {
		return "", err
	}
	if len(kept) >= asideAllowed {
		return "", fmt.Errorf("%d damaged databases in %s already: look at the disk, and remove them", len(kept), dir)
	}
	to = filepath.Join(dir, "damaged-"+now.UTC().Format("20060102T150405.000Z"))
	return to, os.Rename(filepath.Join(dir, dataFolder), to)
}
