package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/durationpb"

	"llm-auto-optimizer/optimizer/control/controlpb"
)

const watchEvery = 2 * time.Second

type statusCmd struct {
	adminFlags
	Span   time.Duration `default:"5m" help:"How far back the table reaches, at most 168h."`
	JSON   bool          `name:"json" help:"Print JSON, the API's GetStatusResponse; with --watch one line each."`
	Watch  bool          `help:"Repeat every two seconds until interrupted."`
	Health bool          `help:"Only ask whether the server is alive: exit status 0 or 1. For container health checks."`
}

// Run asks a running server how it is doing and prints the answer.
func (c *statusCmd) Run(env *environment) error {
	conn, err := c.dial(env)
	if err != nil {
		return err
	}
	if c.Health {
		line, err := conn.get(env.ctx, "/healthz")
		if err != nil {
			return err
		}
		fmt.Fprintln(env.stdout, line)
		return nil
	}
	if c.Span <= 0 {
		return fmt.Errorf("%w: --span %s: want more than 0", errUsage, c.Span)
	}
	if !c.Watch {
		return c.print(env, conn)
	}
	return c.watch(env, conn)
}

// watch prints until the context ends. A server that goes away in between is reported and asked again; one that was
// never there ends the command.
func (c *statusCmd) watch(env *environment, conn *adminConn) error {
	clearFirst := isTerminal(env.stdout) && !c.JSON
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for first := true; ; first = false {
		if clearFirst {
			fmt.Fprint(env.stdout, "\x1b[H\x1b[2J")
		}
		if err := c.print(env, conn); err != nil && env.ctx.Err() == nil {
			if first {
				return err
			}
			fmt.Fprintf(env.stderr, "llmopt: %v\n", err)
		}
		select {
		case <-env.ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (c *statusCmd) print(env *environment, conn *adminConn) error {
	status, err := conn.api.GetStatus(env.ctx, &controlpb.GetStatusRequest{Span: durationpb.New(c.Span)})
	if err != nil {
		return conn.explain(err)
	}
	var out bytes.Buffer
	if c.JSON {
		if err := appendJSON(&out, status, c.Watch); err != nil {
			return err
		}
	} else {
		appendStatus(&out, status)
	}
	_, err = env.stdout.Write(out.Bytes())
	return err
}

// appendJSON renders with all fields, zeros included. protojson varies its white space on purpose; the second pass makes
// the output stable.
func appendJSON(out *bytes.Buffer, status *controlpb.GetStatusResponse, oneLine bool) error {
	raw, err := protojson.MarshalOptions{EmitDefaultValues: true}.Marshal(status)
	if err != nil {
		return fmt.Errorf("render status: %w", err)
	}
	if oneLine {
		err = json.Compact(out, raw)
	} else {
		err = json.Indent(out, raw, "", "  ")
	}
	out.WriteByte('\n')
	return err
}

// isTerminal tells whether w shows its text to a person at once.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
