package main

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"llm-auto-optimizer/optimizer/control/controlpb"
)

// targetsCmd shows the targets of the routes of a running server, and sets them by hand.
type targetsCmd struct {
	List    targetsListCmd `cmd:"" default:"withargs" help:"List the targets of all routes: their state, load and times."`
	Drain   drainCmd       `cmd:"" help:"Send nothing new to a target; what is under way ends."`
	Eject   ejectCmd       `cmd:"" help:"Take a target out until it is restored."`
	Restore restoreCmd     `cmd:"" help:"Let a target take traffic again at once, whatever had taken it out."`
}

type targetsListCmd struct {
	adminFlags
	JSON bool `name:"json" help:"Print JSON, the API's ListRoutesResponse."`
}

// Run prints the targets.
func (c *targetsListCmd) Run(env *environment) error {
	conn, err := c.dial(env)
	if err != nil {
		return err
	}
	res, err := conn.api.ListRoutes(env.ctx, &controlpb.ListRoutesRequest{})
	if err != nil {
		return conn.explain(err)
	}
	if c.JSON {
		return printMessage(env.stdout, res)
	}
	if len(res.GetRoutes()) == 0 {
		fmt.Fprintln(env.stdout, "No routes: requests go where their paths say.")
		return nil
	}
	t := tabwriter.NewWriter(env.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "TARGET\tPROVIDER\tMODEL\tSTATE\tWEIGHT\tIN FLIGHT\tEXPECTED\tP99\tFAILURES\tEJECTIONS\tPACE\tREASON")
	for _, r := range res.GetRoutes() {
		for _, x := range r.GetTargets() {
			state := x.GetState()
			if x.GetFor() != nil {
				state += " " + x.GetFor().AsDuration().Round(time.Second).String()
			}
			weights := make([]string, 0, len(x.GetWeights()))
			for i, w := range x.GetWeights() {
				if text := fmt.Sprintf("%.3g", w); i == 0 || text != weights[0] {
					weights = append(weights, text)
				}
			}
			fmt.Fprintf(t, "%s/%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s\t%.2g%%\t%d\t%s\t%s\n", r.GetName(), x.GetName(), x.GetProvider(), orDash(x.GetModel()), state, strings.Join(weights, "/"),
				x.GetInFlight(), seconds(x.GetExpectedS()), seconds(x.GetP99S()), 100*x.GetUsualFailures(), x.GetEjections(), orDash(x.GetPacing().GetSummary()), orDash(printable(x.GetReason())))
		}
	}
	return t.Flush()
}

func seconds(s float64) string {
	if s == 0 {
		return "–"
	}
	return fmt.Sprintf("%.3gs", s)
}

// targetFlags name a target.
type targetFlags struct {
	adminFlags
	Target string `arg:"" help:"Target, as ROUTE/TARGET."`
	Reason string `help:"Why, for the log." placeholder:"TEXT"`
}

type (
	drainCmd   struct{ targetFlags }
	ejectCmd   struct{ targetFlags }
	restoreCmd struct{ targetFlags }
)

// Run drains.
func (c *drainCmd) Run(env *environment) error {
	return c.set(env, controlpb.SetTargetRequest_ACTION_DRAIN)
}

// Run ejects.
func (c *ejectCmd) Run(env *environment) error {
	return c.set(env, controlpb.SetTargetRequest_ACTION_EJECT)
}

// Run restores.
func (c *restoreCmd) Run(env *environment) error {
	return c.set(env, controlpb.SetTargetRequest_ACTION_RESTORE)
}

func (f *targetFlags) set(env *environment, action controlpb.SetTargetRequest_Action) error {
	route, target, ok := strings.Cut(f.Target, "/")
	if !ok {
		return fmt.Errorf("%w: target %q: want ROUTE/TARGET", errUsage, f.Target)
	}
	conn, err := f.dial(env)
	if err != nil {
		return err
	}
	res, err := conn.api.SetTarget(env.ctx, &controlpb.SetTargetRequest{Route: route, Target: target, Action: action, Reason: f.Reason})
	if err != nil {
		return conn.explain(err)
	}
	fmt.Fprintf(env.stdout, "%s is %s\n", f.Target, res.GetTarget().GetState())
	return nil
}
