package main

import (
	"context"
	"fmt"
	"time"

	"llm-auto-optimizer/analysis/window"
	"llm-auto-optimizer/bench/load"
)

type benchLoadCmd struct {
	URL    string   `name:"url" required:"" placeholder:"URL" help:"Base URL as the vendor's SDK takes it, such as http://127.0.0.1:8080/v1."`
	API    string   `name:"api" default:"chat" help:"chat, responses, embeddings, messages (Anthropic) or generate (Gemini)."`
	Model  string   `help:"Model that requests name; by default a small one of the API's vendor."`
	Key    string   `placeholder:"KEY" help:"API key, sent as the vendor's SDK does: env:NAME, file:PATH, or the key itself."`
	Header []string `short:"H" sep:"none" placeholder:"NAME: VALUE" help:"Header to send too, or instead of one of the SDK's; may be repeated."`

	Stream       bool    `help:"Ask for streams."`
	Usage        bool    `default:"true" negatable:"" help:"Ask streams of chat for their usage, without which they don't tell it."`
	Prompt       string  `default:"250~0.5" placeholder:"N[~SIGMA]" help:"Tokens of the prompt: a number, or the median and sigma of a lognormal."`
	Prefixes     int     `placeholder:"N" help:"Number of system prompts, with one of which each request begins."`
	PrefixTokens int     `default:"1500" help:"Tokens of each system prompt."`
	MaxTokens    int     `default:"256" help:"Limit of the answer's tokens; 0: none."`
	Leave        float64 `placeholder:"SHARE" help:"Share of the clients that leave before the answer is complete, from 0 to 1."`

	Arrivals string        `placeholder:"poisson" help:"constant, poisson or trace; the last is meant when there is a --trace."`
	Rate     *float64      `placeholder:"10" help:"Requests per second on average, for constant and poisson arrivals."`
	Trace    string        `placeholder:"FILE" help:"Trace of Azure, Mooncake or ServeGen, gzip or not: times and lengths are those in it."`
	Lengths  string        `placeholder:"FILE" help:"Distributions of lengths of a ServeGen client; without, such traces have times only."`
	Speed    float64       `default:"1" help:"How much faster than recorded a trace goes."`
	From     time.Duration `placeholder:"TIME" help:"Where in a trace to begin."`

	For         *time.Duration `placeholder:"30s" help:"How long requests are sent, at most 168h; a trace goes to its end by default."`
	Drain       time.Duration  `default:"30s" help:"What answers under way get at the end."`
	MaxInFlight int            `default:"1000" help:"Requests under way, at most; others wait, which counts as latency."`
	Seed        uint64         `default:"1" help:"Another seed sends other things at other times."`
	JSON        bool           `name:"json" help:"Print the report as JSON."`
	Quiet       bool           `short:"q" help:"Show no progress."`
}

// Help says what is measured.
func (c *benchLoadCmd) Help() string {
	return `The load is open: requests go out at their times, whether or not earlier ones were answered, as with many independent
clients. Latency and first token count from the time at which a request should have been sent. How late the generator
itself was is the send lag; the report warns when it matters. Progress goes to stderr, the report to stdout. Ctrl-C ends
early, with the report of what was.

  llmopt bench load --url http://127.0.0.1:8080/v1 --stream --rate 50 --for 1m
  llmopt bench load --url http://127.0.0.1:8080/anthropic --api messages --key env:ANTHROPIC_API_KEY --rate 2
  llmopt bench load --url http://127.0.0.1:8080/v1 --trace conv.csv.gz --speed 10

Exit status 1: no request succeeded.`
}

// Run sends the load until it ends or the environment's context is done, and prints the report.
func (c *benchLoadCmd) Run(env *environment) error {
	l, err := c.load(env)
	if err != nil {
		return err
	}
	p := c.progress(env, l)
	before := processCPU()
	stats := benchPlay(env.ctx, l.driver, p)
	cpu := processCPU() - before
	p.end()
	r := c.report(l, stats, cpu, env.ctx.Err() != nil)
	if err := r.print(env, c.JSON); err != nil {
		return err
	}
	if l.trace != nil && l.trace.Err() != nil {
		return fmt.Errorf("the load ended early: %w", l.trace.Err())
	}
	if stats.Outcomes[window.OK]+stats.Outcomes[window.Canceled]-stats.Cut == 0 {
		return fmt.Errorf("none of %d requests succeeded", stats.Sent)
	}
	return nil
}

// benchPlay runs a load and shows how it goes. When ctx is done, all clients leave.
func benchPlay(ctx context.Context, d *load.Driver, p *benchProgress) *load.Stats {
	done := make(chan struct{})
	go func() {
		defer close(done)
		d.Run(ctx)
	}()
	tick := time.NewTicker(p.every())
	defer tick.Stop()
	interrupted := ctx.Done()
	for {
		select {
		case <-done:
			return d.Stats()
		case <-interrupted:
			d.Leave()
			interrupted = nil
		case <-tick.C:
			p.show(d.Stats())
		}
	}
}
