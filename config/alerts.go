package config

import (
	"cmp"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"time"
)

// Alerts says who is told of trouble, and how often.
type Alerts struct {
	Repeat   time.Duration `koanf:"repeat" allow:"1m..30d"`        // time until an alert that goes on is told again
	Instance string        `koanf:"instance" kind:"namespace"`     // name of this server in alerts; empty: its host name
	Timeout  time.Duration `koanf:"timeout" allow:"100ms..5m"`     // of one try to deliver
	GiveUp   time.Duration `koanf:"give_up_after" allow:"1s..24h"` // of an alert that can't be delivered
	Queue    int           `koanf:"queue" allow:"1..10000"`        // alerts that wait for a webhook; more take the place of the oldest

	// Webhooks by name. The map must not be changed.
	Webhooks map[string]Webhook `koanf:"webhooks"`
}

// Webhook is a URL that alerts are posted to.
type Webhook struct {
	Name        string `koanf:"-"`                     // its key in Alerts.Webhooks
	URL         Secret `koanf:"url" kind:"credential"` // http or https
	Format      string `koanf:"format" allow:"json, slack"`
	MinSeverity string `koanf:"min_severity" allow:"info, warning, critical"`
	SigningKey  Secret `koanf:"signing_key" kind:"credential"` // of the signature of bodies; empty: none
}

// Budget is what may be spent in a period.
type Budget struct {
	Amount   string `koanf:"amount" kind:"money"` // empty: anything
	Period   string `koanf:"period" allow:"day, week, month"`
	Timezone string `koanf:"timezone" kind:"timezone"` // in which periods begin
}

var webhookType = reflect.TypeFor[Webhook]()

// ownWebhookKeys belong to one webhook.
var ownWebhookKeys = []string{"url", "signing_key"}

// WebhookList returns the webhooks by name.
func (a *Alerts) WebhookList() []Webhook {
	return slices.SortedFunc(maps.Values(a.Webhooks), func(a, b Webhook) int { return cmp.Compare(a.Name, b.Name) })
}

// Limit is the amount; 0 where there is no budget.
func (b *Budget) Limit() NanoUSD {
	if b.Amount == "" {
		return 0
	}
	n, err := parseMoney(b.Amount, nanoScale)
	if err != nil {
		panic("BUG: money was checked: " + err.Error())
	}
	return NanoUSD(n)
}

// Zone is the time zone of the periods.
func (b *Budget) Zone() *time.Location {
	zone, err := time.LoadLocation(b.Timezone)
	if err != nil {
		panic("BUG: time zone was checked: " + err.Error())
	}
	return zone
}

// buildWebhooks makes the webhooks on top of their defaults, and takes them out of the table of alerts.
func (l *loader) buildWebhooks(merged map[string]any) map[string]Webhook {
	alerts, _ := merged["alerts"].(map[string]any)
	own, _ := alerts["webhooks"].(map[string]any)
	delete(alerts, "webhooks")
	webhooks := make(map[string]Webhook, len(own))
	for _, name := range slices.Sorted(maps.Keys(own)) {
		w := Webhook{Name: name}
		l.assign(reflect.ValueOf(&w).Elem(), over(merged["webhook_defaults"], own[name]), "alerts.webhooks."+name+".")
		webhooks[name] = w
	}
	return webhooks
}

// webhookURLs are what may stand as the URL of a webhook.
const webhookURLs = "http:// or https:// URL without user and fragment, as env:NAME or file:PATH (itself in the environment)"

// validateAlerts checks what no single value of the alerts shows. Nothing of a URL is shown: it lets whoever knows it post.
func (l *loader) validateAlerts(a *Alerts) {
	if a.Timeout > a.GiveUp {
		l.complain("alerts.timeout", quote(FormatDuration(a.Timeout)), "above give_up_after", "")
	}
	for _, w := range a.WebhookList() {
		prefix := "alerts.webhooks." + w.Name
		if key := prefix + ".url"; w.URL.Empty() && !l.bad[key] {
			l.bad[key] = true
			o := l.origins[key]
			if o == (origin{}) { // not set at all: where the webhook itself is mentioned
				o = l.origins[prefix]
			}
			l.report(Problem{o.source, o.line, key, "", "required", webhookURLs}, o.rank)
		} else if reason := checkWebhookURL(w.URL.Reveal()); reason != "" {
			l.complain(key, "", reason, webhookURLs)
		}
	}
}

func checkWebhookURL(s string) string {
	if s == "" {
		return ""
	}
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return "not a URL"
	case u.User != nil:
		return "holds a user or password"
	case u.Fragment != "" || strings.Contains(s, "#"):
		return "holds a fragment"
	}
	u.RawQuery, u.ForceQuery = "", false // those of some services carry the secret
	return checkBaseURL(u.String())
}

// validateBudget checks an amount of money that is to be spent.
func (l *loader) validateBudget(key string, b *Budget) {
	if b.Amount != "" && b.Limit() == 0 {
		l.complain(key+".amount", quote(b.Amount), "nothing could be spent", stringKinds["money"].allowed)
	}
}
