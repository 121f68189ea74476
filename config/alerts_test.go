package config

import (
	"strings"
	"testing"
	"time"
)

func TestLoad_AlertsAndBudgets(t *testing.T) {
	t.Parallel()
	c, err := load("testdata/alerts.good.toml", "HOOK=https://ops.example/hook?token=s3cret\nSIGN=s3cretKey\nSLACK=https://hooks.slack.com/services/T0/B0/s3cret\n"+
		"OPTIMIZER_ALERTS__WEBHOOKS__OPS__MIN_SEVERITY=info\nOPTIMIZER_ALERTS__WEBHOOKS__THIRD__URL=http://127.0.0.1:9/\n")
	if err != nil {
		t.Fatal(err)
	}
	a := c.Alerts
	if a.Repeat != time.Hour || a.Timeout != 10*time.Second || a.GiveUp != time.Hour || a.Queue != 100 || a.Instance != "" {
		t.Errorf("%+v", a)
	}
	check := func(w Webhook, name, url, format, severity, key string) {
		t.Helper()
		if w.Name != name || w.URL.Reveal() != url || w.Format != format || w.MinSeverity != severity || w.SigningKey.Reveal() != key {
			t.Errorf("%+v %s", w, w.URL.Reveal())
		}
	}
	list := a.WebhookList()
	if len(list) != 3 {
		t.Fatalf("%+v", list)
	}
	check(list[0], "ops", "https://ops.example/hook?token=s3cret", "json", "info", "s3cretKey")
	check(list[1], "slack_team", "https://hooks.slack.com/services/T0/B0/s3cret", "slack", "critical", "")
	check(list[2], "third", "http://127.0.0.1:9/", "json", "warning", "")

	chat := c.Routes["chat"].Budget
	if c.Budget.Limit() != 1000e9 || c.Budget.Period != "month" || chat.Limit() != 50e9 || chat.Period != "day" || chat.Zone().String() != "Europe/Paris" {
		t.Errorf("%+v, %+v", c.Budget, chat)
	}
	if none := (Budget{}); none.Limit() != 0 {
		t.Errorf("%+v", none)
	}
}

func TestLoadSettings_ShowNoWebhookURL(t *testing.T) {
	t.Parallel()
	_, settings, err := LoadSettings(Options{Environ: []string{"OPTIMIZER_ALERTS__WEBHOOKS__OPS__URL=https://ops.example/s3cret"}})
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, s := range settings {
		if strings.HasPrefix(s.Key, "alerts.webhooks.ops.") {
			found++
		}
		if s.Key == "alerts.webhooks.ops.url" && (s.Value != `"***"` || s.Layer != "environment") || s.Key == "alerts.webhooks.ops.format" && s.Layer != "default" {
			t.Errorf("%+v", s)
		}
	}
	if found != 4 {
		t.Errorf("%d settings of the webhook", found)
	}
}

func TestCheckWebhookURL(t *testing.T) {
	t.Parallel()
	check := func(s string, ok bool) {
		t.Helper()
		if reason := checkWebhookURL(s); (reason == "") != ok {
			t.Errorf("%q: %q", s, reason)
		}
	}
	check("", true)
	check("https://hooks.slack.com/services/T0/B0/x", true)
	check("http://127.0.0.1:9093/a?key=b%20c&d", true)
	check("https://x/?", true)
	check("https://x/#f", false)
	check("https://u@x/", false)
	check("ftp://x/", false)
	check("hooks.slack.com/services", false)
	check("https://", false)
	check("https://x:0/", false)
	check("https://x/\x7f", false)
	check(":", false)
}
