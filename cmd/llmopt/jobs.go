package main

import (
	"fmt"
	"text/tabwriter"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"llm-auto-optimizer/optimizer/control/controlpb"
)

// jobsCmd tells about the background jobs of a running server, and runs them.
type jobsCmd struct {
	List jobsListCmd `cmd:"" default:"withargs" help:"List the jobs: when they run, and how the last run went."`
	Run  jobsRunCmd  `cmd:"" help:"Run a job now and wait for it."`
}

type jobsListCmd struct {
	adminFlags
	JSON bool `name:"json" help:"Print JSON, the API's ListJobsResponse."`
}

// Run prints the jobs.
func (c *jobsListCmd) Run(env *environment) error {
	conn, err := c.dial(env)
	if err != nil {
		return err
	}
	res, err := conn.api.ListJobs(env.ctx, &controlpb.ListJobsRequest{})
	if err != nil {
		return conn.explain(err)
	}
	if c.JSON {
		return printMessage(env.stdout, res)
	}
	if len(res.GetJobs()) == 0 {
		fmt.Fprintln(env.stdout, "No jobs: nothing is stored (storage.dir is empty).")
		return nil
	}
	t := tabwriter.NewWriter(env.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "JOB\tSCHEDULE\tNEXT\tLAST\tTOOK\tRUNS\tFAILED\tSKIPPED\tRESULT")
	for _, j := range res.GetJobs() {
		result := "ok"
		switch {
		case j.GetRunning():
			result = "running"
		case j.GetError() != "":
			result = j.GetError()
		case j.GetLast() == nil:
			result = "not run yet"
		}
		took := "–"
		if j.GetTook() != nil {
			took = j.GetTook().AsDuration().Round(time.Millisecond / 10).String()
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%d\t%d\t%d\t%s\n", j.GetName(), orDash(j.GetCron()), moment(j.GetNext()), moment(j.GetLast()), took,
			j.GetRuns(), j.GetFailures(), j.GetSkipped(), result)
	}
	return t.Flush()
}

type jobsRunCmd struct {
	adminFlags
	Name string `arg:"" help:"Name of the job."`
}

// Run runs a job.
func (c *jobsRunCmd) Run(env *environment) error {
	conn, err := c.dial(env)
	if err != nil {
		return err
	}
	conn.http.Timeout = 0 // it takes what it takes
	res, err := conn.api.RunJob(env.ctx, &controlpb.RunJobRequest{Name: c.Name})
	if err != nil {
		return conn.explain(err)
	}
	fmt.Fprintf(env.stdout, "%s done in %v\n", c.Name, res.GetTook().AsDuration().Round(time.Millisecond/10))
	return nil
}

func orDash(s string) string {
	if s == "" {
		return "–"
	}
	return s
}

// moment is a time as people read it, in their own time zone.
func moment(t *timestamppb.Timestamp) string {
	if t == nil {
		return "–"
	}
	return t.AsTime().Local().Format("2006-01-02 15:04:05") //nolint:gosmopolitan // for who sits before it
}
