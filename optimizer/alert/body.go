package alert

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// body is a message as JSON. Fields may be added, none will change.
type body struct {
	ID       string            `json:"id"` // the same for each try
	Source   string            `json:"source"`
	Instance string            `json:"instance"`
	Version  string            `json:"version"`
	Status   string            `json:"status"` // firing, resolved, event
	Key      string            `json:"key"`
	Severity string            `json:"severity"`
	Title    string            `json:"title"`
	Text     string            `json:"text"`
	Fields   map[string]string `json:"fields"`
	At       time.Time         `json:"at"`
	Since    time.Time         `json:"since"`
	Raised   int               `json:"raised"`
}

// id tells messages apart.
func (m *message) id() string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %s %d", m.source.instance, m.Key, m.status, m.at.UnixNano()))
	return hex.EncodeToString(sum[:12])
}

// encode is what is posted.
func (m *message) encode(slack bool) []byte {
	if slack {
		return encode(map[string]string{"text": m.slackText()})
	}
	b := body{
		ID: m.id(), Source: "llmopt", Instance: m.source.instance, Version: m.source.version, Status: m.status, Key: m.Key, Severity: m.Severity.String(),
		Title: m.Title, Text: m.Text, Fields: map[string]string{}, At: m.at.UTC(), Since: m.since.UTC(), Raised: m.raised,
	}
	for _, f := range m.Fields {
		b.Fields[f.Name] = f.Value
	}
	return encode(b)
}

func encode(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic("BUG: encode alert: " + err.Error())
	}
	return text
}

// mostSlack is how long a text may be: Slack asks for at most 4,000 characters.
const mostSlack = 3900

var slackEscapes = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;") // the three that mean something there, mentions among them

// slackText is the message in Slack's mrkdwn. Fields that are too many are left out.
func (m *message) slackText() string {
	mark := [severities]string{":information_source:", ":warning:", ":rotating_light:"}[m.Severity]
	title := m.Title
	if m.status == statusResolved {
		mark, title = ":white_check_mark:", "Resolved: "+title
	}
	s := fmt.Sprintf("%s *%s*", mark, slackEscapes.Replace(title))
	foot := "\n_llmopt"
	if m.source.instance != "" {
		foot += " at " + slackEscapes.Replace(m.source.instance)
	}
	if foot += ", " + m.Severity.String(); m.status != statusEvent {
		foot += ", since " + m.since.UTC().Format("2006-01-02 15:04 UTC")
	}
	foot += "_"
	lines := []string{slackEscapes.Replace(m.Text)}
	for _, f := range m.Fields {
		lines = append(lines, fmt.Sprintf("• %s: %s", slackEscapes.Replace(f.Name), slackEscapes.Replace(f.Value)))
	}
	for _, line := range lines {
		if line != "" && len(s)+len(line)+1+len(foot) <= mostSlack {
			s += "\n" + line
		}
	}
	return s + foot
}
