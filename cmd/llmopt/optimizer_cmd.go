package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"llm-auto-optimizer/optimizer"
	"llm-auto-optimizer/optimizer/control/controlpb"
)

// optimizerCmd shows the optimizer of a running server, and gives it orders.
type optimizerCmd struct {
	Status  optimizerStatusCmd `cmd:"" default:"withargs" help:"Show how far the optimizer may go, what it has changed, and what waits for an answer."`
	Run     optimizerRunCmd    `cmd:"" help:"Have it look at what has come in now, and print its decisions."`
	Watch   optimizerWatchCmd  `cmd:"" help:"Print decisions as they come."`
	Mode    optimizerModeCmd   `cmd:"" help:"Set how far a tuner may go."`
	Freeze  optimizerFreezeCmd `cmd:"" help:"Let nothing of a route change, or of all."`
	Thaw    optimizerThawCmd   `cmd:"" help:"End a freeze."`
	Pin     optimizerPinCmd    `cmd:"" help:"Give a parameter a value that tuners leave alone."`
	Unpin   optimizerUnpinCmd  `cmd:"" help:"Let tuners change a pinned parameter again."`
	Approve approveCmd         `cmd:"" help:"Put a recommendation in force."`
	Reject  rejectCmd          `cmd:"" help:"Turn a recommendation down, or end a trial."`
	Undo    undoCmd            `cmd:"" help:"Take back a decision that is in force, or end a trial."`
	Reset   optimizerResetCmd  `cmd:"" help:"Put a route back to how it is configured."`
}

type optimizerStatusCmd struct {
	adminFlags
	JSON bool `name:"json" help:"Print JSON, the API's GetOptimizerResponse."`
}

// Run prints how the optimizer stands.
func (c *optimizerStatusCmd) Run(env *environment) error {
	conn, err := c.dial(env)
	if err != nil {
		return err
	}
	res, err := conn.api.GetOptimizer(env.ctx, &controlpb.GetOptimizerRequest{})
	if err != nil {
		return conn.explain(err)
	}
	if c.JSON {
		return printMessage(env.stdout, res)
	}
	w := env.stdout
	if !res.GetEnabled() {
		fmt.Fprintln(w, "The optimizer is switched off (optimizer.enabled).")
	}
	if len(res.GetRoutes()) == 0 {
		fmt.Fprintln(w, "No routes: there is nothing to optimize. See docs/routes.md.")
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for i, r := range res.GetRoutes() {
		if i == 0 {
			fmt.Fprintln(t, "ROUTE\tMODES\tHOLD-BACK\tCHANGED FROM WHAT IS CONFIGURED")
		}
		fmt.Fprintf(t, "%s\t%s\t%.3g %%\t%s\n", r.GetName(), modesText(r.GetModes()), 100*r.GetHoldback(), changesText(r.GetChanges()))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, r := range res.GetRoutes() {
		if x := r.GetTrial(); x != nil {
			fmt.Fprintf(w, "On trial: %s of route %s at %.3g %% of the sessions, %.0f exchanges against %.0f; failures %.2f %% against %.2f %%\n", x.GetDecision(), r.GetName(),
				100*x.GetShare(), x.GetExchanges(), x.GetControlExchanges(), 100*x.GetFailures(), 100*x.GetControlFailures())
		}
	}
	for _, d := range res.GetPending() {
		fmt.Fprintf(w, "Recommended: %s: %s %s (llmopt optimizer approve %s, until %s)\n", d.GetId(), d.GetRoute(), d.GetReason(), d.GetId(), moment(d.GetExpires()))
	}
	for _, f := range res.GetFences() {
		fmt.Fprintf(w, "Left out: tuner %s until %s: %s\n", f.GetTuner(), moment(f.GetUntil()), f.GetWhy())
	}
	for _, s := range res.GetFrozen() {
		fmt.Fprintf(w, "Frozen: %s%s\n", orAll(s.GetRoute()), standingText(s))
	}
	for _, s := range res.GetPins() {
		fmt.Fprintf(w, "Pinned: route %s, %s = %g%s\n", s.GetRoute(), s.GetParameter(), s.GetValue(), standingText(s))
	}
	for _, s := range res.GetModes() {
		fmt.Fprintf(w, "Mode: tuner %s of %s is %s%s\n", s.GetTuner(), orAll(s.GetRoute()), modeText(s.GetMode()), standingText(s))
	}
	return nil
}

func orAll(route string) string {
	if route == "" {
		return "all routes"
	}
	return "route " + route
}

func standingText(s *controlpb.Standing) string {
	text := ", by " + s.GetBy()
	if s.GetWhy() != "" {
		text += ": " + s.GetWhy()
	}
	if s.GetUntil() != nil {
		text += ", until " + moment(s.GetUntil())
	}
	return text
}

func modeText(m controlpb.Mode) string {
	return strings.ToLower(strings.TrimPrefix(m.String(), "MODE_"))
}

func modesText(modes map[string]controlpb.Mode) string {
	var out []string
	for _, tuner := range slices.Sorted(maps.Keys(modes)) {
		out = append(out, tuner+" "+modeText(modes[tuner]))
	}
	return strings.Join(out, ", ")
}

func changesText(changes []*controlpb.Change) string {
	if len(changes) == 0 {
		return "nothing"
	}
	out := make([]string, 0, len(changes))
	for _, c := range changes {
		name := c.GetParameter()
		out = append(out, fmt.Sprintf("%s %s → %s", name, optimizer.Value(name, c.GetFrom()), optimizer.Value(name, c.GetTo())))
	}
	return shortList(out)
}

type optimizerRunCmd struct {
	adminFlags
	JSON bool `name:"json" help:"Print JSON, an API's Decision each."`
}

// Run runs a cycle.
func (c *optimizerRunCmd) Run(env *environment) error {
	conn, err := c.dial(env)
	if err != nil {
		return err
	}
	stream, err := conn.api.RunCycle(env.ctx, &controlpb.RunCycleRequest{})
	if err != nil {
		return conn.explain(err)
	}
	n := 0
	for stream.Receive() {
		n++
		if err := showDecision(env, stream.Msg().GetDecision(), c.JSON); err != nil {
			return err
		}
	}
	if err := stream.Err(); err != nil {
		return conn.explain(err)
	}
	if n == 0 && !c.JSON {
		fmt.Fprintln(env.stdout, "Nothing is new.")
	}
	return nil
}

// showDecision prints a decision, as JSON where that is asked for.
func showDecision(env *environment, d *controlpb.Decision, asJSON bool) error {
	if asJSON {
		return printMessage(env.stdout, d)
	}
	printDecision(env, d)
	return nil
}

func printDecision(env *environment, d *controlpb.Decision) {
	fmt.Fprintf(env.stdout, "%-5s %s\n", orDash(d.GetId()), printable(d.GetSentence()))
}

type optimizerWatchCmd struct {
	adminFlags
	Holds bool `help:"Print decisions to change nothing too."`
	JSON  bool `name:"json" help:"Print JSON, an API's Decision each."`
}

// Run prints decisions until it is interrupted.
func (c *optimizerWatchCmd) Run(env *environment) error {
	conn, err := c.dial(env)
	if err != nil {
		return err
	}
	conn.http.Timeout = 0
	stream, err := conn.api.WatchDecisions(env.ctx, &controlpb.WatchDecisionsRequest{Holds: c.Holds})
	if err != nil {
		return conn.explain(err)
	}
	for stream.Receive() {
		d := stream.Msg().GetDecision()
		if d == nil { // it watches
			continue
		}
		if err := showDecision(env, d, c.JSON); err != nil {
			return err
		}
	}
	if err := stream.Err(); err != nil && env.ctx.Err() == nil {
		return conn.explain(err)
	}
	return nil
}

// orderFlags are shared by the commands that order something.
type orderFlags struct {
	adminFlags
	By  string        `help:"Who gives the order. Default: from USER." placeholder:"NAME"`
	Why string        `help:"The reason, for the journal." placeholder:"TEXT"`
	For time.Duration `help:"How long it holds." default:"24h" placeholder:"DURATION"`

	JSON bool `name:"json" help:"Print JSON, the API's OrderOptimizerResponse."`
}

// order gives an order and prints what came of it.
func (f *orderFlags) order(env *environment, req *controlpb.OrderOptimizerRequest) error {
	conn, err := f.dial(env)
	if err != nil {
		return err
	}
	req.By = env.operator(f.By)
	req.Why, req.For = f.Why, durationpb.New(f.For)
	res, err := conn.api.OrderOptimizer(env.ctx, req)
	if err != nil {
		return conn.explain(err)
	}
	if f.JSON {
		return printMessage(env.stdout, res)
	}
	printDecision(env, res.GetDecision())
	return nil
}

// operator is who gives an order, where the command line may not say it.
func (e *environment) operator(by string) string {
	return cmp.Or(by, e.lookup("USER"), "operator")
}

type optimizerModeCmd struct {
	orderFlags
	Tuner string `arg:"" help:"Tuner, such as routing."`
	Mode  string `arg:"" help:"observe, recommend, canary or auto." enum:"observe,recommend,canary,auto"`
	Route string `help:"Of this route only." placeholder:"NAME"`
}

// Run sets a mode.
func (c *optimizerModeCmd) Run(env *environment) error {
	return c.order(env, &controlpb.OrderOptimizerRequest{
		Action: string(optimizer.SetMode), Tuner: c.Tuner, Route: c.Route, Mode: controlpb.Mode(controlpb.Mode_value["MODE_"+strings.ToUpper(c.Mode)]),
	})
}

type optimizerFreezeCmd struct {
	orderFlags
	Route string `arg:"" optional:"" help:"Route. Default: all."`
}

// Run freezes.
func (c *optimizerFreezeCmd) Run(env *environment) error {
	return c.order(env, &controlpb.OrderOptimizerRequest{Action: string(optimizer.Freeze), Route: c.Route})
}

type optimizerThawCmd struct {
	orderFlags
	Route string `arg:"" optional:"" help:"Route. Default: all."`
}

// Run thaws.
func (c *optimizerThawCmd) Run(env *environment) error {
	return c.order(env, &controlpb.OrderOptimizerRequest{Action: string(optimizer.Thaw), Route: c.Route})
}

type optimizerPinCmd struct {
	orderFlags
	Route     string  `arg:"" help:"Route."`
	Parameter string  `arg:"" help:"Parameter, such as weights/TARGET/light, retry_share, first_byte_factor, hedge_share or cache_ttl/light (seconds)."`
	Value     float64 `arg:"" help:"Its value."`
}

// Run pins.
func (c *optimizerPinCmd) Run(env *environment) error {
	return c.order(env, &controlpb.OrderOptimizerRequest{Action: string(optimizer.Pin), Route: c.Route, Parameter: c.Parameter, Value: c.Value})
}

type optimizerUnpinCmd struct {
	orderFlags
	Route     string `arg:"" help:"Route."`
	Parameter string `arg:"" help:"Parameter."`
}

// Run unpins.
func (c *optimizerUnpinCmd) Run(env *environment) error {
	return c.order(env, &controlpb.OrderOptimizerRequest{Action: string(optimizer.Unpin), Route: c.Route, Parameter: c.Parameter})
}

type (
	approveCmd struct {
		orderFlags
		Decision string `arg:"" help:"The decision's ID, as llmopt optimizer and llmopt journal print it."`
	}
	rejectCmd struct {
		orderFlags
		Decision string `arg:"" help:"The decision's ID, as llmopt optimizer and llmopt journal print it."`
	}
	undoCmd struct {
		orderFlags
		Decision string `arg:"" help:"The decision's ID, as llmopt optimizer and llmopt journal print it."`
	}
)

// Run approves.
func (c *approveCmd) Run(env *environment) error {
	return c.order(env, &controlpb.OrderOptimizerRequest{Action: string(optimizer.Approve), Decision: c.Decision})
}

// Run rejects.
func (c *rejectCmd) Run(env *environment) error {
	return c.order(env, &controlpb.OrderOptimizerRequest{Action: string(optimizer.Reject), Decision: c.Decision})
}

// Run takes back.
func (c *undoCmd) Run(env *environment) error {
	return c.order(env, &controlpb.OrderOptimizerRequest{Action: string(optimizer.Undo), Decision: c.Decision})
}

type optimizerResetCmd struct {
	orderFlags
	Route string `arg:"" help:"Route."`
}

// Run resets.
func (c *optimizerResetCmd) Run(env *environment) error {
	return c.order(env, &controlpb.OrderOptimizerRequest{Action: string(optimizer.Reset), Route: c.Route})
}
