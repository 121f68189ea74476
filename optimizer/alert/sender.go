package alert

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
)

// spacing is the least time between two messages to a webhook: Slack takes one a second.
const spacing = time.Second

// sender has the messages that wait for a webhook, and delivers them one after the other.
type sender struct {
	Webhook
	timeout, giveUp time.Duration
	most            int
	client          *http.Client
	log             zerolog.Logger
	counts          *counts

	mu      sync.Mutex
	waiting []*message
	current *message      // under way
	wake    chan struct{} // something waits
}

// counts are those of a webhook.
type counts struct{ delivered, failed, dropped, retries atomic.Uint64 }

func newSender(w *Webhook, o *Options, c *counts, log zerolog.Logger) *sender {
	transport := o.transport
	if transport == nil {
		transport = http.DefaultTransport
	}
	return &sender{
		Webhook: *w, timeout: o.Timeout, giveUp: o.GiveUp, most: max(o.Queue, 1), counts: c, log: log.With().Str("webhook", w.Name).Logger(), wake: make(chan struct{}, 1),
		// A redirect would lead the body, and the trust in its address, elsewhere.
		client: &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}
}

// equals tells whether both deliver in the same way.
func (s *sender) equals(o *sender) bool {
	return s.URL.Reveal() == o.URL.Reveal() && s.SigningKey.Reveal() == o.SigningKey.Reveal() && s.Slack == o.Slack && s.MinSeverity == o.MinSeverity &&
		s.timeout == o.timeout && s.giveUp == o.giveUp && s.most == o.most && s.client.Transport == o.client.Transport
}

// takeOver takes what another has not delivered yet, also what it is about to.
func (s *sender) takeOver(o *sender) {
	o.mu.Lock()
	all := o.waiting
	if o.current != nil {
		all = slices.Insert(all, 0, o.current)
	}
	o.waiting, o.current = nil, nil
	o.mu.Unlock()
	for _, m := range all {
		s.put(m)
	}
}

// put has a message wait. It takes the place of the oldest where too many do.
func (s *sender) put(m *message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.waiting) >= s.most {
		s.waiting = slices.Delete(s.waiting, 0, 1)
		s.counts.dropped.Add(1)
	}
	s.waiting = append(s.waiting, m)
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// next is the message to be delivered now; nil when ctx is done.
func (s *sender) next(ctx context.Context) *message {
	for {
		s.mu.Lock()
		if len(s.waiting) > 0 {
			s.current, s.waiting = s.waiting[0], s.waiting[1:]
			m := s.current
			s.mu.Unlock()
			return m
		}
		s.mu.Unlock()
		select {
		case <-ctx.Done():
			return nil
		case <-s.wake:
		}
	}
}

func (s *sender) pending() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.waiting)
	if s.current != nil {
		n++
	}
	return n
}

// run delivers until ctx is done.
func (s *sender) run(ctx context.Context) {
	for ctx.Err() == nil {
		m := s.next(ctx)
		if m == nil {
			return
		}
		err := s.deliver(ctx, m)
		if ctx.Err() != nil && err != nil {
			return // whoever takes over, if anybody, delivers it
		}
		s.mu.Lock()
		if s.current == m {
			s.current = nil
		}
		s.mu.Unlock()
		if err == nil {
			s.counts.delivered.Add(1)
		} else {
			s.counts.failed.Add(1)
			s.log.Warn().Str("alert", m.Key).Str("status", m.status).Err(err).Msg("alert was not delivered")
		}
		sleep(ctx, spacing)
	}
}

// sleep waits, or returns false when ctx is done before.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
