package main

import (
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"

	"llm-auto-optimizer/config"
)

// configCmd groups what can be asked of settings without a running server.
type configCmd struct {
	Show      configShowCmd      `cmd:"" help:"Print every setting, its value and where that comes from. Secrets are masked."`
	Reference configReferenceCmd `cmd:"" help:"Print the page that explains every setting, in Markdown."`
}

type configShowCmd struct {
	Config  string `placeholder:"FILE" help:"File with settings (TOML, YAML or JSON); the environment wins over it."`
	Changed bool   `help:"Only settings that are not the defaults."`
	JSON    bool   `name:"json" help:"Print JSON."`
}

// Run prints what serve would start with.
func (c *configShowCmd) Run(env *environment) error {
	_, settings, err := config.LoadSettings(config.Options{File: c.Config, Environ: env.environ})
	if err != nil {
		return fmt.Errorf("%w: configuration: %w", errUsage, err)
	}
	shown := make([]config.Setting, 0, len(settings))
	for _, s := range settings {
		if !c.Changed || s.Layer != "default" {
			shown = append(shown, s)
		}
	}
	if c.JSON {
		return printJSON(env.stdout, shown)
	}
	return printSettings(env.stdout, shown)
}

func printSettings(w io.Writer, settings []config.Setting) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "KEY\tVALUE\tFROM")
	for _, s := range settings {
		from := s.Layer
		switch {
		case s.Line > 0:
			from = s.Source + ":" + strconv.Itoa(s.Line)
		case s.Source != "":
			from = s.Source
		}
		fmt.Fprintf(t, "%s\t%s\t%s\n", s.Key, s.Value, from)
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("print the settings: %w", err)
	}
	return nil
}

type configReferenceCmd struct{}

// Run prints docs/configuration.md.
func (*configReferenceCmd) Run(env *environment) error {
	_, err := io.WriteString(env.stdout, config.Reference())
	return err
}
