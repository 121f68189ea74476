package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"

	"github.com/coreos/go-systemd/v22/daemon"

	"llm-auto-optimizer/config"
)

type serveCmd struct {
	Config string `placeholder:"FILE" help:"File with settings (TOML, YAML or JSON); the environment wins over it."`
}

// gcPercent lets garbage grow to a quarter of what lives before it is collected. Requests leave next to none, so that costs no
// measurable time; without it the buffers of closed connections double the memory.
const gcPercent = 25

// Run serves until the environment's context is done or a listener fails.
func (c *serveCmd) Run(env *environment) error {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	options := config.Options{File: c.Config, Environ: env.environ}
	settings, err := config.Load(options)
	if err != nil {
		return fmt.Errorf("%w: configuration: %w", errUsage, err)
	}
	g, err := newGateway(settings, options, env.stdout, env.stderr)
	if err != nil {
		return err
	}
	g.start()
	if err := announce(env.stdout, g); err != nil {
		return err
	}
	greet(env.stderr, g)
	notify(daemon.SdNotifyReady)
	select {
	case <-env.ctx.Done():
		notify(daemon.SdNotifyStopping)
		g.log.Info().Dur("grace", g.reload.current.Load().Server.ShutdownTimeout).Msg("shutting down")
		return g.shutdown()
	case err := <-g.failed:
		_ = g.end() // what it serves is served no longer: there is nothing to wait for
		return err
	}
}

// announce prints the one line that programs wait for.
func announce(w io.Writer, g *gateway) error {
	line := struct {
		Event string `json:"event"`
		Proxy string `json:"proxy"`
		Admin string `json:"admin"`
	}{"listening", g.proxyURL, g.adminURL}
	return json.NewEncoder(w).Encode(line)
}

// greet tells a person what to do next.
func greet(w io.Writer, g *gateway) {
	var b strings.Builder
	fmt.Fprintf(&b, "llmopt %s listens on %s, admin on %s\n", buildVersion().Version, g.proxyURL, g.adminURL)
	fmt.Fprintf(&b, "Point an SDK's base URL here; its own key goes through:\n")
	for _, name := range g.config.ProviderNames() {
		p := g.config.Providers[name]
		variable, known := sdkVariables[p.Dialect]
		if !known || name != p.Dialect {
			variable = "base URL"
		}
		fmt.Fprintf(&b, "  %-12s %s=%s/%s   → %s\n", name, variable, g.proxyURL, name, p.BaseURL)
	}
	if path := g.config.Server.Socket; path != "" {
		fmt.Fprintf(&b, "The same over the Unix socket %s\n", path)
	}
	fmt.Fprintf(&b, "State: %s\n", stateOf(&g.config.Storage))
	fmt.Fprintf(&b, "Look: llmopt status, or %s/metrics\n", g.adminURL)
	_, _ = io.WriteString(w, b.String())
}
