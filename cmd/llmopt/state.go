package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/dustin/go-humanize"

	"llm-auto-optimizer/optimizer/control/controlpb"
	"llm-auto-optimizer/storage"
)

// stateCmd looks after what a server stores.
type stateCmd struct {
	Inspect stateInspectCmd `cmd:"" help:"Count what is stored."`
	Backup  stateBackupCmd  `cmd:"" help:"Write a backup of all of it; the server goes on meanwhile."`
	Restore stateRestoreCmd `cmd:"" help:"Replace all of it by a backup."`
	Compact stateCompactCmd `cmd:"" help:"Rewrite the files without what was deleted or has expired."`
}

// stateFlags say whose state: a running server's, or that in a directory which no server uses.
type stateFlags struct {
	adminFlags
	Dir string `help:"Work on this directory instead of asking a server; none may be using it." placeholder:"DIR"`
}

// offline opens the directory, in which there must be state.
func (f stateFlags) offline(do func(s stateAPI) error) error {
	if _, err := os.Stat(f.Dir); err != nil {
		return fmt.Errorf("%w: --dir: %w", errUsage, err)
	}
	if !storage.Exists(f.Dir) {
		return fmt.Errorf("%w: --dir: %s holds no state", errUsage, f.Dir)
	}
	return f.open(do)
}

// open opens the directory, and begins a database where there is none.
func (f stateFlags) open(do func(s stateAPI) error) error {
	store, err := storage.OpenDir(f.Dir, storage.Limits{})
	switch {
	case errors.Is(err, storage.ErrInUse):
		return fmt.Errorf("a server is using %s: leave --dir away to ask it", f.Dir)
	case err != nil:
		return fmt.Errorf("open %s: %w", f.Dir, err)
	}
	return errors.Join(do(stateAPI{Store: store}), store.Close())
}

type stateInspectCmd struct {
	stateFlags
	JSON bool `name:"json" help:"Print JSON, the API's GetStateResponse."`
}

// Run prints what is stored.
func (c *stateInspectCmd) Run(env *environment) (err error) {
	var res *controlpb.GetStateResponse
	if c.Dir == "" {
		conn, err := c.dial(env)
		if err != nil {
			return err
		}
		if res, err = conn.api.GetState(env.ctx, &controlpb.GetStateRequest{}); err != nil {
			return conn.explain(err)
		}
	} else if err := c.offline(func(s stateAPI) (err error) { res, err = s.Stats(env.ctx); return err }); err != nil {
		return err
	}
	if c.JSON {
		return printMessage(env.stdout, res)
	}
	free := "unknown"
	if res.GetFreeBytes() >= 0 {
		free = sizeText(res.GetFreeBytes())
	}
	fmt.Fprintf(env.stdout, "%s: %s of files, %s free on the disk, layout %d\n\n", res.GetDir(), sizeText(res.GetFileBytes()), free, res.GetSchema())
	t := tabwriter.NewWriter(env.stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "\tENTRIES\tKEYS\tVALUES\t")
	for _, s := range res.GetSpaces() {
		fmt.Fprintf(t, "%s\t%d\t%s\t%s\t\n", s.GetName(), s.GetEntries(), sizeText(s.GetKeyBytes()), sizeText(s.GetValueBytes()))
	}
	return t.Flush()
}

type stateBackupCmd struct {
	stateFlags
	File string `arg:"" help:"Where to; - is standard output."`
}

// Run writes a backup.
func (c *stateBackupCmd) Run(env *environment) error {
	backup := func(w io.Writer) error { return c.backup(env, w) }
	if c.File == "-" {
		return backup(env.stdout)
	}
	if err := writeWhole(c.File, func(f *os.File) error { return backup(f) }); err != nil {
		return err
	}
	info, err := os.Stat(c.File)
	if err != nil {
		return err
	}
	fmt.Fprintf(env.stdout, "%s: %s\n", c.File, sizeText(info.Size()))
	return nil
}

func (c *stateBackupCmd) backup(env *environment, w io.Writer) error {
	if c.Dir != "" {
		return c.offline(func(s stateAPI) error { return s.Backup(env.ctx, w) })
	}
	conn, err := c.dial(env)
	if err != nil {
		return err
	}
	body, err := conn.stream(env.ctx, http.MethodGet, "/state/backup", nil)
	if err != nil {
		return err
	}
	defer body.Close()
	// What comes is checked while it goes out: a backup that broke off shall not pass for one.
	r, pipe := io.Pipe()
	checked := make(chan error, 1)
	go func() {
		err := storage.CheckBackup(r)
		_, _ = io.Copy(io.Discard, r)
		checked <- err
	}()
	_, err = io.Copy(io.MultiWriter(w, pipe), body)
	_ = pipe.Close()
	if broken := <-checked; err == nil {
		err = broken
	}
	if err != nil {
		return fmt.Errorf("backup from %s: %w", conn.url, err)
	}
	return nil
}

type stateRestoreCmd struct {
	stateFlags
	File string `arg:"" type:"existingfile" help:"The backup."`
}

// Run puts a backup in the place of what is stored.
func (c *stateRestoreCmd) Run(env *environment) error {
	f, err := os.Open(c.File)
	if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	defer f.Close()
	if c.Dir != "" {
		err = os.MkdirAll(c.Dir, 0o700)
		if err == nil {
			err = c.open(func(s stateAPI) error { return s.Store.Restore(context.WithoutCancel(env.ctx), f) })
		}
		if err != nil {
			return err
		}
		fmt.Fprintf(env.stdout, "%s restored from %s\n", c.Dir, filepath.Base(c.File))
		return nil
	}
	conn, err := c.dial(env)
	if err != nil {
		return err
	}
	body, err := conn.stream(env.ctx, http.MethodPost, "/state/restore", f)
	if err != nil {
		return err
	}
	_ = body.Close()
	fmt.Fprintf(env.stdout, "state of %s restored from %s; what it holds in memory stays\n", conn.url, filepath.Base(c.File))
	return nil
}

type stateCompactCmd struct{ stateFlags }

// Run compacts the files.
func (c *stateCompactCmd) Run(env *environment) error {
	var before, after int64
	if c.Dir != "" {
		err := c.offline(func(s stateAPI) error {
			before = s.Size()
			err := s.Compact(env.ctx)
			after = s.Size()
			return err
		})
		if err != nil {
			return err
		}
	} else {
		conn, err := c.dial(env)
		if err != nil {
			return err
		}
		conn.http.Timeout = 0
		res, err := conn.api.CompactState(env.ctx, &controlpb.CompactStateRequest{})
		if err != nil {
			return conn.explain(err)
		}
		before, after = res.GetFileBytesBefore(), res.GetFileBytes()
	}
	fmt.Fprintf(env.stdout, "%s before, %s now\n", sizeText(before), sizeText(after))
	return nil
}

// stream sends a body and returns that of the answer, however long either takes; any status but 200 is an error.
func (c *adminConn) stream(ctx context.Context, method, path string, body io.Reader) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.url+path, body)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", c.url, err)
	}
	patient := *c.http
	patient.Timeout = 0
	resp, err := patient.Do(req)
	if err != nil {
		return nil, c.explain(err)
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		var text bytes.Buffer
		_, _ = io.Copy(&text, io.LimitReader(resp.Body, 4<<10))
		return nil, fmt.Errorf("%s%s: %s: %s", c.url, path, resp.Status, strings.TrimSpace(text.String()))
	}
	return resp.Body, nil
}

// sizeText is a number of bytes as people read it.
func sizeText(n int64) string { return humanize.IBytes(uint64(max(n, 0))) }
