package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"text/tabwriter"
	"time"

	"llm-auto-optimizer/config"
)

type checkCmd struct {
	Config string `placeholder:"FILE" help:"File with settings (TOML, YAML or JSON); the environment wins over it."`
	JSON   bool   `name:"json" help:"Print JSON."`
}

// Run validates the configuration and prints what the server would do with it. All that is wrong is one error.
func (c *checkCmd) Run(env *environment) error {
	report, err := examine(c.Config, env.environ)
	if c.JSON {
		if err := printJSON(env.stdout, report); err != nil {
			return err
		}
	}
	if err != nil {
		return fmt.Errorf("%w: configuration: %w", errUsage, err)
	}
	if c.JSON {
		return nil
	}
	return report.print(env.stdout)
}

// checkReport is what check prints: as text if the configuration is right, as JSON always.
type checkReport struct {
	OK        bool             `json:"ok"`
	Problems  []config.Problem `json:"problems,omitempty"`
	File      string           `json:"file,omitempty"`
	Proxy     string           `json:"proxy,omitempty"`
	Admin     string           `json:"admin,omitempty"`
	AccessLog string           `json:"access_log,omitempty"`
	State     string           `json:"state,omitempty"`
	Limits    *checkLimits     `json:"limits,omitempty"`
	Prices    *checkPrices     `json:"prices,omitempty"`
	Providers []checkProvider  `json:"providers,omitempty"`
	Routes    []checkRoute     `json:"routes,omitempty"`
	Callers   []checkLimit     `json:"caller_limits,omitempty"`
	Notes     []string         `json:"notes,omitempty"`
}

type checkLimits struct {
	MaxBody        config.Size `json:"max_body"`
	ReplayLimit    config.Size `json:"replay_limit"`
	MaxHeader      config.Size `json:"max_header"`
	MaxConnections int         `json:"max_connections"`
}

type checkPrices struct {
	Models int    `json:"models"`
	Date   string `json:"date"`
	Origin string `json:"origin"`
	File   string `json:"file,omitempty"`
}

type checkProvider struct {
	Name       string            `json:"name"`
	Dialect    string            `json:"dialect"`
	Upstream   string            `json:"upstream"`
	Credential string            `json:"credential"`
	Timeouts   map[string]string `json:"timeouts"`
	PricedAs   string            `json:"priced_as"`
	Priced     int               `json:"priced_models"`
	Variable   string            `json:"sdk_variable"`
	BaseURL    string            `json:"sdk_base_url"`
}

// examine loads everything that serve would load. The report is never nil.
func examine(file string, environ []string) (*checkReport, error) {
	c, err := config.Load(config.Options{File: file, Environ: environ})
	if err != nil {
		r := &checkReport{File: file}
		if wrong := new(config.Error); errors.As(err, &wrong) {
			r.Problems = wrong.Problems
		}
		return r, err
	}
	embedded, err := config.EmbeddedPrices()
	if err != nil {
		panic("BUG: built-in prices: " + err.Error())
	}
	book, err := config.NewPriceBook(embedded, c.Prices.File, 0, nil)
	if err != nil {
		p := config.Problem{Source: c.Prices.File, Key: "prices.file", Reason: err.Error()}
		return &checkReport{File: file, Problems: []config.Problem{p}}, fmt.Errorf("prices.file: %w", err)
	}
	prices := book.Table()
	r := &checkReport{
		OK:        true,
		File:      file,
		Proxy:     listenURL(c.Server.Listen, c.Server.TLSCert != ""),
		Admin:     listenURL(c.Admin.Listen, c.Admin.TLSCert != ""),
		AccessLog: c.Log.Access,
		State:     stateOf(&c.Storage),
		Limits:    &checkLimits{c.Server.MaxBody, c.Server.ReplayLimit, c.Server.MaxHeader, c.Server.MaxConnections},
		Prices:    &checkPrices{prices.Len(), prices.Date(), prices.Origin(), c.Prices.File},
		Notes:     notes(c, prices),
	}
	for _, name := range c.ProviderNames() {
		p := c.Providers[name]
		hint := p.PriceHint()
		r.Providers = append(r.Providers, checkProvider{
			Name:       name,
			Dialect:    p.Dialect,
			Upstream:   p.BaseURL,
			Credential: credential(&p),
			Timeouts: map[string]string{
				"connect": deadlineText(p.Timeouts.Connect), "first_byte": deadlineText(p.Timeouts.FirstByte),
				"idle": deadlineText(p.Timeouts.Idle), "total": deadlineText(p.Timeouts.Total),
			},
			PricedAs: hint,
			Priced:   prices.ModelsOf(hint),
			Variable: sdkVariables[p.Dialect],
			BaseURL:  r.Proxy + "/" + name,
		})
	}
	for _, route := range c.RouteList() {
		r.Routes = append(r.Routes, examineRoute(c, &route, prices))
	}
	for _, l := range c.LimitList() {
		r.Callers = append(r.Callers, examineLimit(&l))
	}
	return r, nil
}

// sdkVariables are the environment variables that the vendors' SDKs take a base URL from.
var sdkVariables = map[string]string{
	"openai":    "OPENAI_BASE_URL",
	"anthropic": "ANTHROPIC_BASE_URL",
	"gemini":    "GOOGLE_GEMINI_BASE_URL",
}

// credential says whose key goes upstream.
func credential(p *config.Provider) string {
	if p.APIKey.Empty() {
		return "the client's own"
	}
	return "configured (" + p.APIKey.String() + ")"
}

// notes are what an operator should know before the start.
func notes(c *config.Config, prices *config.PriceTable) (out []string) {
	note := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	open := !config.IsLoopback(c.Server.Listen)
	if open && c.Server.TLSCert == "" {
		note("server.listen %s is reached from other machines without TLS: credentials and prompts travel in clear", c.Server.Listen)
	}
	keys := 0
	for _, name := range c.ProviderNames() {
		p := c.Providers[name]
		u, err := url.Parse(p.BaseURL)
		if err != nil {
			panic("BUG: base_url was checked: " + err.Error())
		}
		if !p.APIKey.Empty() {
			keys++
			if open {
				note("providers.%s: whoever reaches %s uses the configured key", name, c.Server.Listen)
			}
		}
		if p.TLS.Insecure {
			note("providers.%s.tls.insecure: any certificate is accepted, so that the connection can be listened to", name)
		}
		if u.Scheme == "http" && !config.IsLoopback(net.JoinHostPort(u.Hostname(), "0")) {
			note("providers.%s: %s is not encrypted", name, p.BaseURL)
		}
		if hint := p.PriceHint(); prices.ModelsOf(hint) == 0 {
			note("providers.%s: the price list has no provider %q: only models that their vendor's name prices have a cost; set priced_as", name, hint)
		}
	}
	ownKeys, routeNotes := routeNotes(c, prices)
	keys += ownKeys
	out = append(append(out, routeNotes...), limitNotes(c)...)
	if keys == 0 {
		note("no provider has a key configured: clients send their own")
	}
	const shortToken = 16 // bytes; less can be guessed
	if n := len(c.Admin.Token.Reveal()); n > 0 && n < shortToken {
		note("admin.token has less than %d characters", shortToken)
	}
	if c.Storage.Dir == "" {
		note("storage.dir is empty: all state is in memory and ends with the process")
	}
	if skipped := prices.Skipped(); len(skipped) > 0 {
		note("%d models of the price file stay as they are built in, or unpriced; the first: %s: %s",
			len(skipped), skipped[0].Model, skipped[0].Reason)
	}
	return out
}

// print writes the report for people.
func (r *checkReport) print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	file := r.File
	if file == "" {
		file = "none: defaults and environment"
	}
	prices := fmt.Sprintf("%d models of %s, %s", r.Prices.Models, r.Prices.Date, r.Prices.Origin)
	if r.Prices.File != "" {
		prices += ", with " + r.Prices.File
	}
	fmt.Fprintf(t, "configuration file\t%s\n", file)
	fmt.Fprintf(t, "proxy\t%s\n", r.Proxy)
	fmt.Fprintf(t, "admin\t%s\n", r.Admin)
	fmt.Fprintf(t, "access log\t%s\n", r.AccessLog)
	fmt.Fprintf(t, "state\t%s\n", r.State)
	fmt.Fprintf(t, "limits\tbody %v, replayed up to %v, head %v, %d connections\n",
		r.Limits.MaxBody, r.Limits.ReplayLimit, r.Limits.MaxHeader, r.Limits.MaxConnections)
	fmt.Fprintf(t, "prices\t%s\n", prices)
	fmt.Fprintf(t, "\nPROVIDER\tDIALECT\tUPSTREAM\tCREDENTIAL\tCONNECT\tFIRST BYTE\tIDLE\tTOTAL\tPRICES\n")
	for _, p := range r.Providers {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s (%d models)\n", p.Name, p.Dialect, p.Upstream, p.Credential,
			p.Timeouts["connect"], p.Timeouts["first_byte"], p.Timeouts["idle"], p.Timeouts["total"], p.PricedAs, p.Priced)
	}
	if len(r.Routes) > 0 {
		fmt.Fprintf(t, "\nROUTE\tMATCHES\tTARGET\tPROVIDER\tMODEL\tWEIGHT\tPRIORITY\tCREDENTIAL\n")
	}
	for _, route := range r.Routes {
		for _, x := range route.Targets {
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%.4g\t%d\t%s\n", route.Name, route.Match, x.Name, x.Provider, orDash(x.Model), x.Weight, x.Priority, x.Credential)
		}
	}
	printLimits(t, r.Callers)
	fmt.Fprintf(t, "\nBase URLs for SDKs:\n")
	for _, p := range r.Providers {
		fmt.Fprintf(t, "  %s=%s\n", p.Variable, p.BaseURL)
	}
	if len(r.Notes) > 0 {
		fmt.Fprintf(t, "\nNotes:\n")
	}
	for _, n := range r.Notes {
		fmt.Fprintf(t, "  %s\n", n)
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("print the report: %w", err)
	}
	return nil
}

// stateOf says where state goes.
func stateOf(c *config.Storage) string {
	if c.Dir == "" {
		return "in memory only"
	}
	return fmt.Sprintf("%s, at most %v, %v of the disk stay free", c.Dir, c.MaxSize, c.MinFree)
}

// deadlineText writes a deadline, where zero is none.
func deadlineText(d time.Duration) string {
	if d == 0 {
		return "none"
	}
	return config.FormatDuration(d)
}

// listenURL returns the URL that reaches a listen address from this machine. The port 0 is one picked at the start.
func listenURL(listen string, tls bool) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		panic("BUG: listen address was checked: " + err.Error())
	}
	if addr, err := netip.ParseAddr(host); host == "" || err == nil && addr.IsUnspecified() {
		host = "127.0.0.1"
	}
	if port == "0" {
		port = "PORT"
	}
	scheme := "http"
	if tls {
		scheme = "https"
	}
	return scheme + "://" + net.JoinHostPort(host, port)
}
