package compare

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is a program under measurement, with those that it has started.
type process struct {
	pid    int
	cmd    *exec.Cmd // nil: it is not ours
	exited chan struct{}
	log    string // file of what it says
}

// start runs a program that listens on addr, and waits until it does.
func start(ctx context.Context, dir, name, addr string, environ []string, command ...string) (*process, error) {
	p := &process{exited: make(chan struct{}), log: filepath.Join(dir, name+".out")}
	out, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	p.cmd = exec.Command(command[0], command[1:]...) //nolint:gosec,noctx // the contenders' own commands; stop ends them
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.Dir = out, out, dir
	p.cmd.Env = append(os.Environ(), environ...)
	ownGroup(p.cmd)
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	p.pid = p.cmd.Process.Pid
	go func() {
		_ = p.cmd.Wait()
		close(p.exited)
	}()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if conn, err := net.DialTimeout("tcp", addr, time.Second); err == nil {
			conn.Close()
			return p, nil
		}
		select {
		case <-p.exited:
			return nil, fmt.Errorf("%s ended at once: %s", name, p.said())
		case <-ctx.Done():
			p.stop()
			return nil, ctx.Err()
		default:
		}
		if time.Now().After(end) {
			p.stop()
			return nil, fmt.Errorf("%s does not listen on %s: %s", name, addr, p.said())
		}
	}
}

// said is the end of what the program has printed.
func (p *process) said() string {
	text, _ := os.ReadFile(p.log)
	if len(text) > 2000 {
		text = text[len(text)-2000:]
	}
	return strings.TrimSpace(string(text))
}

// stop ends the program and all that it has started.
func (p *process) stop() {
	if p.cmd == nil {
		return
	}
	endGroup(p.pid, false)
	select {
	case <-p.exited:
	case <-time.After(5 * time.Second):
		endGroup(p.pid, true)
		<-p.exited
	}
}

// cpu is the time that the process and its descendants have run on a processor, from the scheduler's account of each of
// their threads in nanoseconds. Threads that have ended are not in it: contenders keep theirs.
func (p *process) cpu() (sum time.Duration, err error) {
	for _, pid := range p.family() {
		ran, err := (&process{pid: pid}).threads()
		if err != nil {
			return 0, err
		}
		sum += ran
	}
	return sum, nil
}

// threads is the time of the process alone.
func (p *process) threads() (sum time.Duration, err error) {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", p.pid))
	if err != nil || len(tasks) == 0 {
		return 0, fmt.Errorf("no account of the CPU time of process %d: this needs Linux with scheduler statistics", p.pid)
	}
	for _, task := range tasks {
		text, err := os.ReadFile(task)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue // ended meanwhile
		}
		if err != nil {
			return 0, err
		}
		ran, err := parseSchedstat(string(text))
		if err != nil {
			return 0, fmt.Errorf("%s: %w", task, err)
		}
		sum += ran
	}
	return sum, nil
}

// parseSchedstat reads the first of three numbers: nanoseconds on a processor.
func parseSchedstat(text string) (time.Duration, error) {
	first, _, _ := strings.Cut(strings.TrimSpace(text), " ")
	ns, err := strconv.ParseInt(first, 10, 64)
	if err != nil || ns < 0 {
		return 0, fmt.Errorf("schedstat %q", text)
	}
	return time.Duration(ns), nil
}

// rss is the resident memory of the process and its descendants, in bytes; pages that they share count for each.
func (p *process) rss() (int64, error) {
	var sum int64
	for _, pid := range p.family() {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			return 0, err
		}
		kib, err := parseRSS(string(text))
		if err != nil {
			return 0, fmt.Errorf("process %d: %w", pid, err)
		}
		sum += kib << 10
	}
	return sum, nil
}

// parseRSS finds the resident set size in KiB.
func parseRSS(text string) (int64, error) {
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			return strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
		}
	}
	return 0, errors.New("status without VmRSS")
}

// family is the process and all its descendants.
func (p *process) family() []int {
	all := []int{p.pid}
	for i := 0; i < len(all); i++ {
		lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", all[i]))
		for _, list := range lists {
			text, _ := os.ReadFile(list)
			for _, f := range strings.Fields(string(text)) {
				if pid, err := strconv.Atoi(f); err == nil {
					all = append(all, pid)
				}
			}
		}
	}
	return all
}
