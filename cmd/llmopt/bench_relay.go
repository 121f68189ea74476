package main

import (
	"context"
	"net"

	"llm-auto-optimizer/bench/relay"
)

type benchRelayCmd struct {
	Listen   string `default:"127.0.0.1:8090" help:"Address to listen on."`
	Upstream string `required:"" placeholder:"HOST:PORT" help:"Where requests go."`
}

// Run relays until the environment's context is done.
func (c *benchRelayCmd) Run(env *environment) error {
	ln, err := (&net.ListenConfig{}).Listen(env.ctx, "tcp", c.Listen)
	if err != nil {
		return err
	}
	defer context.AfterFunc(env.ctx, func() { ln.Close() })()
	return relay.Serve(ln, c.Upstream)
}
