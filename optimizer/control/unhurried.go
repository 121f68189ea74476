package control

import (
	"net/http"
	"time"

	"llm-auto-optimizer/optimizer/control/controlpb"
)

// unhurried lets the calls that watch something take as long as their client stays, and reads: one that takes nothing of a message for that long is cut off.
func unhurried(next http.Handler, patience time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case controlpb.AdminWatchDecisionsProcedure, controlpb.AdminWatchStatusProcedure:
			control := http.NewResponseController(w)
			_ = control.SetReadDeadline(time.Time{})
			_ = control.SetWriteDeadline(time.Time{})
			w = &watched{w, control, patience}
		default:
		}
		next.ServeHTTP(w, r)
	})
}

// watched is an answer of which each write has a deadline of its own. Between two writes there is none: with HTTP/2 it would end the stream.
type watched struct {
	http.ResponseWriter
	control  *http.ResponseController
	patience time.Duration
}

// Unwrap is for http.ResponseController.
func (w *watched) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Write implements http.ResponseWriter.
func (w *watched) Write(b []byte) (n int, err error) {
	w.within(func() error {
		n, err = w.ResponseWriter.Write(b)
		return err
	})
	return n, err
}

// Flush implements http.Flusher. What goes wrong shows with the next write.
func (w *watched) Flush() { _ = w.FlushError() }

// FlushError is what http.ResponseController calls.
func (w *watched) FlushError() (err error) {
	w.within(func() error {
		err = w.control.Flush()
		return err
	})
	return err
}

// within does something that has to end in time. A deadline that was missed stays: the connection is no more.
func (w *watched) within(do func() error) {
	_ = w.control.SetWriteDeadline(time.Now().Add(w.patience))
	if do() == nil {
		_ = w.control.SetWriteDeadline(time.Time{})
	}
}
