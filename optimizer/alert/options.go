package alert

import (
	"net/http"
	"os"
	"time"

	"llm-auto-optimizer/config"
)

// Options say who is told, and how often.
type Options struct {
	Repeat   time.Duration // time until an alert that goes on is told again
	Timeout  time.Duration // of one try to deliver
	GiveUp   time.Duration // of an alert that can't be delivered, from when it was raised
	Queue    int           // alerts that wait for a webhook, at least 1; more take the place of the oldest
	Instance string        // name of this server
	Version  string        // of the program
	Webhooks []Webhook     // each with a name of its own

	transport http.RoundTripper // nil: the usual one
}

// Webhook is where alerts are posted to.
type Webhook struct {
	Name        string
	URL         config.Secret
	SigningKey  config.Secret // of the signature of bodies; empty: none
	Slack       bool          // the format; false: JSON with every field
	MinSeverity Severity
}

// OptionsOf are the options that settings ask for.
func OptionsOf(c *config.Alerts, version string) Options {
	o := Options{Repeat: c.Repeat, Timeout: c.Timeout, GiveUp: c.GiveUp, Queue: c.Queue, Instance: c.Instance, Version: version}
	if o.Instance == "" {
		o.Instance, _ = os.Hostname() // without a name it stays empty
	}
	for _, w := range c.WebhookList() {
		severity, err := ParseSeverity(w.MinSeverity)
		if err != nil {
			panic("BUG: severity was checked: " + err.Error())
		}
		o.Webhooks = append(o.Webhooks, Webhook{Name: w.Name, URL: w.URL, SigningKey: w.SigningKey, Slack: w.Format == "slack", MinSeverity: severity})
	}
	return o
}
