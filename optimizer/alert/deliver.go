package alert

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	firstBackoff = time.Second // before the second try; each that follows waits about twice as long
	mostBackoff  = time.Minute
	mostAnswer   = 64 << 10 // bytes of an answer that are read, so that the connection can be used again
)

var (
	errTooLate  = errors.New("given up")
	errRedirect = errors.New("redirects are not followed")
)

// statusError is an answer other than that all went well.
type statusError struct {
	code  int
	after time.Duration // that the server asks to wait
}

func (e *statusError) Error() string {
	return fmt.Sprintf("answered with %d %s", e.code, http.StatusText(e.code))
}

// temporary tells whether another try may go better.
func (e *statusError) temporary() bool {
	switch e.code {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return true
	default:
		return e.code >= http.StatusInternalServerError
	}
}

// deliver posts a message, and again where that fails for now, until it is too old.
func (s *sender) deliver(ctx context.Context, m *message) error {
	deadline := m.at.Add(s.giveUp)
	body := m.encode(s.Slack)
	for try := 0; ; try++ {
		if !time.Now().Before(deadline) {
			return errTooLate
		}
		err := s.post(ctx, deadline, m, body)
		if err == nil || ctx.Err() != nil {
			return err
		}
		wait := backoff(try)
		if status := (*statusError)(nil); errors.As(err, &status) {
			if !status.temporary() {
				return err
			}
			wait = max(wait, status.after)
		} else if errors.Is(err, errRedirect) {
			return err
		}
		if time.Now().Add(wait).After(deadline) {
			return fmt.Errorf("%w after %d tries: %w", errTooLate, try+1, err)
		}
		s.counts.retries.Add(1)
		if !sleep(ctx, wait) {
			return ctx.Err()
		}
	}
}

// backoff is between half of it and all of it, so that servers that failed together do not come back together.
func backoff(try int) time.Duration {
	d := min(firstBackoff<<min(try, 10), mostBackoff)
	return d/2 + rand.N(d/2+1) //nolint:gosec // no secret
}

// post makes one try. An error says nothing of the URL but its host.
func (s *sender) post(ctx context.Context, deadline time.Time, m *message, body []byte) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	ctx, cancelLate := context.WithDeadline(ctx, deadline)
	defer cancelLate()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL.Reveal(), bytes.NewReader(body))
	if err != nil {
		return errors.New("no URL")
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", strings.TrimSuffix("llmopt/"+m.source.version, "/"))
	r.Header.Set("X-Llmopt-Alert-Id", m.id())
	if key := s.SigningKey.Reveal(); key != "" {
		r.Header.Set("X-Llmopt-Signature", sign(key, body))
	}
	answer, err := s.client.Do(r)
	if wrong := (*url.Error)(nil); errors.As(err, &wrong) {
		return fmt.Errorf("post to %s: %w", r.URL.Host, wrong.Err) // without the URL
	}
	if err != nil {
		return fmt.Errorf("post to %s: %w", r.URL.Host, err)
	}
	defer answer.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, mostAnswer)) // what it says is of no use; it may repeat the URL
	switch code := answer.StatusCode; {
	case code >= 200 && code < 300:
		return nil
	case code >= 300 && code < 400:
		return fmt.Errorf("post to %s: %w", r.URL.Host, errRedirect)
	default:
		return fmt.Errorf("post to %s: %w", r.URL.Host, &statusError{code, retryAfter(answer.Header.Get("Retry-After"), time.Now())})
	}
}

// sign is the value of the header x-llmopt-signature: HMAC-SHA256 of the body.
func sign(key string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write(body)
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}

// retryAfter reads the header of that name, seconds or a date (RFC 9110, 10.2.3); 0 where it says nothing.
func retryAfter(v string, now time.Time) time.Duration {
	v = strings.TrimSpace(v)
	if n, err := strconv.ParseUint(v, 10, 31); err == nil {
		return time.Duration(n) * time.Second //nolint:gosec // 31 bits
	}
	if at, err := http.ParseTime(v); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}
