package alert

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

const (
	// flapping is how long an alert that comes back must last to be told, where it was told less than Repeat ago.
	flapping = 10 * time.Minute
	// sweepEvery is how often alerts are looked through for ones to be told again.
	sweepEvery = 10 * time.Second
	// mostKept is how many alerts are known at a time. One more takes the place of the one that was told longest ago.
	mostKept = 1000
)

// Alerter tells alerts to webhooks, and to the log. Its methods are safe for concurrent use, and none but Run waits for anything.
type Alerter struct {
	log     zerolog.Logger
	changed chan struct{} // webhooks are others

	mu         sync.Mutex
	options    Options
	known      map[string]*state
	senders    []*sender
	counts     map[string]*counts // by webhook
	suppressed uint64
}

// state is what is known of a key.
type state struct {
	last   Alert
	open   bool
	shown  bool // the last that was told of it is that it goes on
	since  time.Time
	raised int
	told   time.Time // that it goes on, or has happened
	as     Severity  // at what severity at most, since it goes on
}

// New returns an alerter. Nothing is delivered until Run runs; alerts wait for it.
func New(o Options, log zerolog.Logger) *Alerter {
	a := &Alerter{log: log, changed: make(chan struct{}, 1), known: map[string]*state{}, counts: map[string]*counts{}}
	a.Set(o)
	return a
}

// Raise says that something is wrong, or has happened. It may be called each time that it is found to be so: it is told at once the first time and when it
// gets worse, and again after Repeat as long as nobody resolves it. One that comes back after it was resolved is told when Repeat is over or when it has
// lasted for ten minutes.
func (a *Alerter) Raise(alert Alert) {
	alert = alert.bounded()
	a.say(a.raise(alert, time.Now()))
}

func (a *Alerter) raise(alert Alert, now time.Time) *message {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.known[alert.Key]
	if s == nil {
		a.makeRoom()
		s = &state{}
		a.known[alert.Key] = s
	}
	if s.last = alert; !s.open || alert.Event {
		s.since, s.raised = now, 0
	}
	s.raised++
	s.open = !alert.Event
	if s.told.IsZero() || alert.Severity > s.as || a.due(s, now) {
		return a.tell(s, now)
	}
	a.suppressed++
	return nil
}

// Resolve says that what was raised by this key is over. Of a key that is not raised nothing is told.
func (a *Alerter) Resolve(key string) {
	a.say(a.resolve(cut(key, mostKey), time.Now()))
}

func (a *Alerter) resolve(key string, now time.Time) *message {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.known[key]
	if s == nil || !s.open {
		return nil
	}
	s.open = false
	if !s.shown {
		return nil
	}
	s.shown = false
	s.last.Severity = s.as // whoever was told the one is told the other
	return a.send(s, statusResolved, now)
}

// Settle raises an alert that is on, and resolves one that is not.
func (a *Alerter) Settle(alert Alert, on bool) {
	if on {
		a.Raise(alert)
	} else {
		a.Resolve(alert.Key)
	}
}

// due tells whether an alert that was told before is to be told again.
func (a *Alerter) due(s *state, now time.Time) bool {
	if now.Sub(s.told) >= a.options.Repeat {
		return true
	}
	return s.open && !s.shown && now.Sub(s.since) >= flapping
}

// tell says that an alert goes on, or has happened.
func (a *Alerter) tell(s *state, now time.Time) *message {
	if !s.shown {
		s.as = s.last.Severity
	}
	s.told, s.as, s.shown = now, max(s.as, s.last.Severity), s.open
	if s.last.Event {
		return a.send(s, statusEvent, now)
	}
	return a.send(s, statusFiring, now)
}

// send hands a message to the webhooks.
func (a *Alerter) send(s *state, status string, now time.Time) *message {
	m := &message{Alert: s.last, status: status, at: now, since: s.since, raised: s.raised, source: source{a.options.Instance, a.options.Version}}
	for _, to := range a.senders {
		if m.Severity >= to.MinSeverity {
			to.put(m)
		}
	}
	return m
}

// say logs a message, if there is one.
func (a *Alerter) say(m *message) {
	if m != nil {
		a.log.WithLevel(level(m)).Str("alert", m.Key).Str("severity", m.Severity.String()).Str("status", m.status).Str("text", m.Text).Msg(m.Title)
	}
}

func level(m *message) zerolog.Level {
	switch {
	case m.status == statusResolved || m.Severity == Info:
		return zerolog.InfoLevel
	case m.Severity == Warning:
		return zerolog.WarnLevel
	default:
		return zerolog.ErrorLevel
	}
}

// makeRoom forgets a key where there are too many: one that is not raised, if there is one, else the one that was told longest ago.
func (a *Alerter) makeRoom() {
	if len(a.known) < mostKept {
		return
	}
	oldest := ""
	for key, s := range a.known {
		o := a.known[oldest]
		if o == nil || s.open == o.open && (s.told.Before(o.told) || s.told.Equal(o.told) && key < oldest) || !s.open && o.open {
			oldest = key
		}
	}
	delete(a.known, oldest)
}

// sweep tells the alerts whose time has come, and forgets those that are long over.
func (a *Alerter) sweep() {
	for _, m := range a.overdue(time.Now()) {
		a.say(m)
	}
}

func (a *Alerter) overdue(now time.Time) (told []*message) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, key := range slices.Sorted(maps.Keys(a.known)) {
		s := a.known[key]
		switch {
		case s.open && a.due(s, now):
			told = append(told, a.tell(s, now))
		case !s.open && now.Sub(s.told) >= a.options.Repeat:
			delete(a.known, key)
		}
	}
	return told
}

// Set puts other options in force. What waits for a webhook goes on waiting for the one of the same name.
func (a *Alerter) Set(o Options) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.options = o
	old := a.senders
	a.senders = nil
	for i := range o.Webhooks {
		w := &o.Webhooks[i]
		c := a.counts[w.Name]
		if c == nil {
			c = &counts{}
			a.counts[w.Name] = c
		}
		next := newSender(w, &o, c, a.log)
		for _, s := range old {
			if s.Name != w.Name {
				continue
			}
			if s.equals(next) {
				next = s
			} else {
				next.takeOver(s)
			}
		}
		a.senders = append(a.senders, next)
	}
	select {
	case a.changed <- struct{}{}:
	default:
	}
}

// Run delivers alerts until ctx is done, and returns when all deliveries have ended. It is to be called once.
func (a *Alerter) Run(ctx context.Context) {
	running := map[*sender]context.CancelFunc{}
	var all sync.WaitGroup
	defer all.Wait()
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			for _, stop := range running {
				stop()
			}
			return
		case <-a.changed:
			a.mu.Lock()
			wanted := map[*sender]bool{}
			for _, s := range a.senders {
				wanted[s] = true
			}
			a.mu.Unlock()
			for s, stop := range running {
				if !wanted[s] {
					stop()
					delete(running, s)
				}
			}
			for s := range wanted {
				if running[s] == nil {
					own, stop := context.WithCancel(ctx)
					running[s] = stop
					all.Go(func() { s.run(own) })
				}
			}
		case <-ticker.C:
			a.sweep()
		}
	}
}
