package main

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"llm-auto-optimizer/optimizer/control/controlpb"
)

// savingsCmd shows what the optimizer of a running server has saved.
type savingsCmd struct {
	adminFlags
	Since time.Duration `help:"Only of that long ago until now. Default: all there is." placeholder:"DURATION"`
	JSON  bool          `name:"json" help:"Print JSON."`
}

// Run prints the proof.
func (c *savingsCmd) Run(env *environment) error {
	conn, err := c.dial(env)
	if err != nil {
		return err
	}
	req := &controlpb.GetSavingsRequest{}
	if c.Since > 0 {
		req.Span = durationpb.New(c.Since)
	}
	res, err := conn.api.GetSavings(env.ctx, req)
	if err != nil {
		return conn.explain(err)
	}
	if c.JSON {
		return printMessage(env.stdout, res.GetSavings())
	}
	_, err = fmt.Fprint(env.stdout, res.GetText())
	return err
}
