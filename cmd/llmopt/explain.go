package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"text/tabwriter"

	"llm-auto-optimizer/optimizer/control/controlpb"
)

type explainCmd struct {
	adminFlags
	Model  string   `help:"Model that the request names." placeholder:"NAME"`
	Path   string   `help:"Path of the request. Default: /v1/chat/completions." placeholder:"PATH"`
	Header []string `short:"H" sep:"none" help:"Header of the request; repeatable." placeholder:"NAME:VALUE"`
	Body   string   `help:"File with the request's body; - for standard input. Default: a small one that names the model." placeholder:"FILE"`
	Input  int      `help:"Input tokens of the default body." default:"100" placeholder:"N"`
	Stream bool     `help:"The default body asks for a stream."`
	Output int      `name:"max-tokens" help:"max_tokens of the default body." placeholder:"N"`
	JSON   bool     `name:"json" help:"Print JSON, the API's ExplainResponse."`
}

// Help explains the command.
func (explainCmd) Help() string {
	return "Nothing is sent. The probabilities are those of the first attempt, given the state of the targets at this moment."
}

// Run asks a running server where a request would go.
func (c *explainCmd) Run(env *environment) error {
	req := &controlpb.ExplainRequest{Path: c.Path, Headers: map[string]string{}}
	for _, h := range c.Header {
		name, value, ok := strings.Cut(h, ":")
		if !ok {
			return fmt.Errorf("%w: --header %q: want NAME:VALUE", errUsage, h)
		}
		req.Headers[strings.TrimSpace(name)] = strings.TrimSpace(value)
	}
	var err error
	if req.Body, err = c.body(); err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	if strings.Contains(c.Path, "{model}") {
		req.Path = strings.ReplaceAll(c.Path, "{model}", url.PathEscape(c.Model))
	}
	conn, err := c.dial(env)
	if err != nil {
		return err
	}
	res, err := conn.api.Explain(env.ctx, req)
	if err != nil {
		return conn.explain(err)
	}
	if c.JSON {
		return printMessage(env.stdout, res)
	}
	return printExplanation(env.stdout, res)
}

// body is the request's, or one that stands for it.
func (c *explainCmd) body() ([]byte, error) {
	switch {
	case c.Body == "-":
		return io.ReadAll(os.Stdin)
	case c.Body != "":
		return os.ReadFile(c.Body)
	case c.Model == "":
		return nil, fmt.Errorf("--model NAME or --body FILE is needed")
	case c.Input < 0 || c.Input > 10_000_000:
		return nil, fmt.Errorf("--input %d: want 0 to 10000000", c.Input)
	}
	body := map[string]any{
		"model": c.Model, "messages": []any{map[string]string{"role": "user", "content": strings.Repeat("word", c.Input)}},
	}
	if c.Stream {
		body["stream"] = true
	}
	if c.Output > 0 {
		body["max_tokens"] = c.Output
	}
	return json.Marshal(body)
}

func printExplanation(out io.Writer, e *controlpb.ExplainResponse) error {
	fmt.Fprintf(out, "%s\n\n", e.GetSummary())
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	stream := "no stream"
	if e.GetStream() {
		stream = "a stream"
	}
	fmt.Fprintf(w, "request\t%s of model %q at %s, about %d tokens, %s, class %s\n", e.GetOperation(), e.GetModel(), e.GetProvider(), e.GetInputTokens(), stream, e.GetClass())
	fmt.Fprintf(w, "route\t%s\n", e.GetRoute())
	for _, f := range e.GetFallbacks() {
		fmt.Fprintf(w, "fallback on %s\t%s\n", f.GetCause(), strings.Join(f.GetTargets(), ", "))
	}
	if len(e.GetCandidates()) > 0 {
		fmt.Fprintf(w, "\nTARGET\tPROBABILITY\tWEIGHT\tSTATE\tNOTE\n")
	}
	for _, c := range e.GetCandidates() {
		fmt.Fprintf(w, "%s\t%.4f\t%.4g\t%s\t%s\n", c.GetTarget(), c.GetProbability(), c.GetWeight(), c.GetState(), printable(c.GetNote()))
	}
	return w.Flush()
}
