package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"llm-auto-optimizer/optimizer/control/controlpb"
	"llm-auto-optimizer/optimizer/jobs"
	"llm-auto-optimizer/optimizer/state"
)

// Jobs are the background jobs. *jobs.Runner is one.
type Jobs interface {
	List() []jobs.Status
	Trigger(name string) error
}

// State is what is stored. Its calls fail while there is no storage.
type State interface {
	Stats(ctx context.Context) (*controlpb.GetStateResponse, error)
	Dir() string
	Size() int64 // of the files, in bytes
	Compact(ctx context.Context) error
	Backup(ctx context.Context, w io.Writer) error
	// Restore replaces all that is stored. An error for which BadBackup holds has changed nothing.
	Restore(ctx context.Context, r io.ReadSeeker) error
	BadBackup(err error) bool
	// Journal gives entries with numbers below before, newest first, at most limit.
	Journal(ctx context.Context, before uint64, limit int, yield func(number uint64, e state.Entry)) error
}

const (
	pathBackup  = "/state/backup"
	pathRestore = "/state/restore"
)

var errNoState = errors.New("no state is stored: storage.dir is empty")

func (a *admin) ListJobs(context.Context, *controlpb.ListJobsRequest) (*controlpb.ListJobsResponse, error) {
	res := &controlpb.ListJobsResponse{}
	if a.options.Jobs == nil {
		return res, nil
	}
	for _, s := range a.options.Jobs.List() {
		j := &controlpb.Job{
			Name: s.Name, Help: s.Help, Cron: s.Cron, Running: s.Running, Next: timeOf(s.Next), Last: timeOf(s.Last),
			Runs: s.Runs, Failures: s.Failures, Skipped: s.Skipped,
		}
		if !s.Last.IsZero() {
			j.Took = durationpb.New(s.Took)
		}
		if s.Err != nil {
			j.Error = s.Err.Error()
		}
		res.Jobs = append(res.Jobs, j)
	}
	return res, nil
}

// timeOf is nil for the zero time.
func timeOf(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

func (a *admin) RunJob(_ context.Context, req *controlpb.RunJobRequest) (*controlpb.RunJobResponse, error) {
	if a.options.Jobs == nil {
		return nil, connect.NewError(connect.CodeNotFound, jobs.ErrUnknown)
	}
	began := time.Now()
	switch err := a.options.Jobs.Trigger(req.GetName()); {
	case errors.Is(err, jobs.ErrUnknown):
		return nil, connect.NewError(connect.CodeNotFound, err)
	case errors.Is(err, jobs.ErrRunning):
		return nil, connect.NewError(connect.CodeAborted, err)
	case errors.Is(err, jobs.ErrStopped):
		return nil, connect.NewError(connect.CodeUnavailable, err)
	case err != nil:
		return nil, connect.NewError(connect.CodeUnknown, err)
	}
	return &controlpb.RunJobResponse{Took: durationpb.New(time.Since(began))}, nil
}

// stored is the state, or the error that there is none.
func (s *Server) stored() (State, error) {
	if s.options.State == nil {
		return nil, connect.NewError(connect.CodeUnavailable, errNoState)
	}
	return s.options.State, nil
}

func (a *admin) GetState(ctx context.Context, _ *controlpb.GetStateRequest) (*controlpb.GetStateResponse, error) {
	st, err := a.stored()
	if err != nil {
		return nil, err
	}
	res, err := st.Stats(ctx)
	if err != nil {
		return nil, connect.NewError(connect.CodeUnavailable, err)
	}
	return res, nil
}

func (a *admin) CompactState(ctx context.Context, _ *controlpb.CompactStateRequest) (*controlpb.CompactStateResponse, error) {
	st, err := a.stored()
	if err != nil {
		return nil, err
	}
	res := &controlpb.CompactStateResponse{FileBytesBefore: st.Size()}
	if err := st.Compact(ctx); err != nil {
		return nil, connect.NewError(connect.CodeUnavailable, err)
	}
	res.FileBytes = st.Size()
	return res, nil
}

// backup sends a backup. One that breaks off has no end, which a restore notices.
func (s *Server) backup(w http.ResponseWriter, r *http.Request) {
	st, err := s.stored()
	if err != nil {
		s.refuse(w, r, http.StatusServiceUnavailable, connect.CodeUnavailable, errNoState)
		return
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Time{}) // it may take long
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Disposition", `attachment; filename="llmopt-`+s.options.Now().UTC().Format("20060102T150405Z")+`.backup"`)
	begun := &beginning{ResponseWriter: w}
	if err := st.Backup(r.Context(), begun); err != nil {
		if begun.yes {
			panic(http.ErrAbortHandler) // the client must not take it for whole
		}
		w.Header().Del("Content-Disposition")
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	}
}

// beginning notes whether anything was written.
type beginning struct {
	http.ResponseWriter
	yes bool
}

func (b *beginning) Write(p []byte) (int, error) {
	b.yes = true
	return b.ResponseWriter.Write(p)
}

// restore replaces what is stored by the backup in the request's body.
func (s *Server) restore(w http.ResponseWriter, r *http.Request) {
	st, err := s.stored()
	if err != nil {
		s.refuse(w, r, http.StatusServiceUnavailable, connect.CodeUnavailable, errNoState)
		return
	}
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Time{}) // it may take long
	_ = control.SetWriteDeadline(time.Time{})
	if err := restoreFrom(r, st); err != nil {
		status := http.StatusServiceUnavailable
		if st.BadBackup(err) {
			status = http.StatusBadRequest
		}
		http.Error(w, err.Error(), status)
		return
	}
	s.options.Log.Warn().Msg("state restored from a backup")
	setText(w)
	fmt.Fprintln(w, "restored")
}

// restoreFrom keeps the body in a file first, since a backup is read twice.
func restoreFrom(r *http.Request, st State) error {
	f, err := os.CreateTemp(st.Dir(), "restore-*") // next to what it replaces: there need be no other place to write to
	if err != nil {
		return fmt.Errorf("keep the backup: %w", err)
	}
	defer func() { _ = os.Remove(f.Name()) }()
	defer f.Close()
	if _, err := io.Copy(f, r.Body); err != nil {
		return fmt.Errorf("keep the backup: %w", err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("keep the backup: %w", err)
	}
	return st.Restore(r.Context(), f)
}
