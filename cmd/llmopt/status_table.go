package main

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"llm-auto-optimizer/optimizer/control/controlpb"
)

const maxName = 56 // of a target in the table, in characters

// appendStatus renders the answer for a person.
func appendStatus(out *bytes.Buffer, s *controlpb.GetStatusResponse) {
	ready := "ready"
	if !s.GetReady() {
		ready = "NOT READY: " + printable(s.GetNotReady())
	}
	up := s.GetNow().AsTime().Sub(s.GetStarted().AsTime())
	mode := strings.ToLower(strings.TrimPrefix(s.GetMode().String(), "MODE_"))
	fmt.Fprintf(out, "llmopt %s, up %s, mode %s, policy %d, %s\n",
		printable(s.GetVersion().GetVersion()), shortDuration(up.Seconds()), mode, s.GetPolicyVersion(), ready)
	fmt.Fprintf(out, "proxy %s, admin %s\n", printable(s.GetProxyUrl()), printable(s.GetAdminUrl()))
	names := make([]string, 0, len(s.GetProviders()))
	for _, p := range s.GetProviders() {
		names = append(names, printable(p.GetName()))
	}
	fmt.Fprintf(out, "providers %s\n", strings.Join(names, ", "))
	appendRoutes(out, s.GetRoutes())
	for _, notice := range s.GetNotices() {
		fmt.Fprintf(out, "note: %s\n", printable(notice))
	}
	out.WriteByte('\n')

	span := shortDuration(s.GetSpan().AsDuration().Seconds())
	if len(s.GetTargets()) == 0 {
		fmt.Fprintf(out, "No requests in the last %s.\n", span)
		return
	}
	appendTargets(out, "last "+span, s, statusColumns)
}

// appendRoutes names the routes, and of their targets those that do not take traffic as they should.
func appendRoutes(out *bytes.Buffer, routes []*controlpb.Route) {
	for _, r := range routes {
		taking, troubled := 0, []string(nil)
		for _, t := range r.GetTargets() {
			pace := ""
			if p := t.GetPacing(); p.GetWaiting() > 0 || p.GetHow() == "paused" { // others are not held back
				pace = p.GetSummary()
			}
			switch t.GetState() {
			case "healthy":
				if taking++; pace == "" {
					continue
				}
			case "slow_start", "probation", "paced", "full":
				taking++
			}
			what := printable(t.GetName()) + " " + t.GetState()
			if t.GetFor() != nil {
				what += " for " + shortDuration(t.GetFor().AsDuration().Seconds())
			}
			if pace != "" {
				what += " (" + pace + ")"
			}
			if t.GetReason() != "" {
				what += " (" + printable(t.GetReason()) + ")"
			}
			troubled = append(troubled, what)
		}
		fmt.Fprintf(out, "route %s: %d of %d targets take traffic", printable(r.GetName()), taking, len(r.GetTargets()))
		if len(troubled) > 0 {
			fmt.Fprintf(out, "; %s", strings.Join(troubled, ", "))
		}
		out.WriteByte('\n')
	}
}

// column is one fact of a target.
type column struct {
	title string
	text  bool // to the left; numbers go to the right
	cell  func(*controlpb.Summary) string
}

var (
	columnRequests = column{title: "requests", cell: func(s *controlpb.Summary) string {
		return strconv.FormatInt(s.GetRequests(), 10)
	}}
	columnRate = column{title: "per s", cell: func(s *controlpb.Summary) string {
		return strconv.FormatFloat(s.GetRequestsPerSecond(), 'f', 2, 64)
	}}
	columnErrors = column{title: "errors", cell: func(s *controlpb.Summary) string {
		return percent(s.GetErrors(), s.GetRequests())
	}}
	columnTTFT = column{title: "ttft p50", cell: func(s *controlpb.Summary) string {
		return quantile(s.GetTtftSeconds(), (*controlpb.Quantiles).GetP50)
	}}
	columnTTFT95 = column{title: "p95", cell: func(s *controlpb.Summary) string {
		return quantile(s.GetTtftSeconds(), (*controlpb.Quantiles).GetP95)
	}}
	columnDuration = column{title: "duration p50", cell: func(s *controlpb.Summary) string {
		return quantile(s.GetDurationSeconds(), (*controlpb.Quantiles).GetP50)
	}}
	columnDuration95 = column{title: "p95", cell: func(s *controlpb.Summary) string {
		return quantile(s.GetDurationSeconds(), (*controlpb.Quantiles).GetP95)
	}}
	columnInput   = column{title: "tok in", cell: func(s *controlpb.Summary) string { return shortCount(s.GetTokensInput()) }}
	columnCached  = column{title: "cached", cell: func(s *controlpb.Summary) string { return shortCount(s.GetTokensCacheRead()) }}
	columnOutput  = column{title: "tok out", cell: func(s *controlpb.Summary) string { return shortCount(s.GetTokensOutput()) }}
	columnCost    = column{title: "cost", cell: cost}
	columnRemarks = column{title: "remarks", text: true, cell: remarks}
)

// statusColumns are all there are.
var statusColumns = []column{
	columnRequests, columnRate, columnErrors, columnTTFT, columnTTFT95, columnDuration, columnDuration95,
	columnInput, columnCached, columnOutput, columnCost, columnRemarks,
}

// appendTargets writes a line for each target and one for all of them together. The title stands above the names.
func appendTargets(out *bytes.Buffer, title string, s *controlpb.GetStatusResponse, columns []column) {
	head := []string{title}
	text := []bool{true}
	for _, c := range columns {
		head, text = append(head, c.title), append(text, c.text)
	}
	rows := [][]string{head}
	add := func(name string, sum *controlpb.Summary) {
		row := []string{clip(printable(name))}
		for _, c := range columns {
			row = append(row, c.cell(sum))
		}
		rows = append(rows, row)
	}
	for _, t := range s.GetTargets() {
		add(t.GetTarget(), t.GetSummary())
	}
	if len(s.GetTargets()) > 1 {
		add("total", s.GetTotal())
	}
	appendTable(out, text, rows)
}

// cost is what the priced attempts cost; where no attempt had a price it says so and not zero.
func cost(s *controlpb.Summary) string {
	if s.GetCostNanousd() == 0 && s.GetUnpriced() > 0 {
		return "unpriced"
	}
	return dollars(s.GetCostNanousd())
}

// remarks lists what the numbers alone do not say: the outcomes that were not ok, most frequent first, and how far the
// cost can be trusted.
func remarks(s *controlpb.Summary) string {
	outcomes := s.GetOutcomes()
	names := slices.SortedFunc(maps.Keys(outcomes), func(a, b string) int {
		return cmp.Or(cmp.Compare(outcomes[b], outcomes[a]), cmp.Compare(a, b))
	})
	var parts []string
	for _, name := range names {
		if name != "ok" {
			parts = append(parts, fmt.Sprintf("%s %d", printable(name), outcomes[name]))
		}
	}
	if n := s.GetEstimated(); n > 0 {
		parts = append(parts, fmt.Sprintf("estimated %d", n))
	}
	if n := s.GetUnpriced(); n > 0 {
		parts = append(parts, fmt.Sprintf("unpriced %d", n))
	}
	return strings.Join(parts, ", ")
}

// appendTable aligns columns: text to the left, numbers to the right.
func appendTable(out *bytes.Buffer, text []bool, rows [][]string) {
	widths := make([]int, len(text))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			if i > 0 {
				line.WriteString("  ")
			}
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if text[i] {
				line.WriteString(cell + pad)
			} else {
				line.WriteString(pad + cell)
			}
		}
		out.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
}

// printable replaces what could drive a terminal: names of models come from clients.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, s)
}

// clip shortens a long name in its middle, where names differ least.
func clip(s string) string {
	r := []rune(s)
	if len(r) <= maxName {
		return s
	}
	half := (maxName - 1) / 2
	return string(r[:half]) + "…" + string(r[len(r)-half:])
}

func percent(part, whole int64) string {
	if whole == 0 {
		return "-"
	}
	return strconv.FormatFloat(100*float64(part)/float64(whole), 'f', 1, 64) + "%"
}

// quantile shows one quantile, "-" where nothing was measured.
func quantile(q *controlpb.Quantiles, pick func(*controlpb.Quantiles) float64) string {
	if q.GetCount() == 0 {
		return "-"
	}
	return shortDuration(pick(q))
}

// shortDuration shows seconds to about three digits: 850µs, 312ms, 1.24s, 3m20s, 4h10m, 2d3h.
func shortDuration(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	switch {
	case d < time.Millisecond:
		return d.Round(time.Microsecond).String()
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return strconv.FormatFloat(d.Seconds(), 'f', 2, 64) + "s"
	case d < time.Hour:
		return twoUnits(d, time.Minute, "m", time.Second, "s")
	case d < 24*time.Hour:
		return twoUnits(d, time.Hour, "h", time.Minute, "m")
	default:
		return twoUnits(d, 24*time.Hour, "d", time.Hour, "h")
	}
}

func twoUnits(d, large time.Duration, largeName string, small time.Duration, smallName string) string {
	s := strconv.FormatInt(int64(d/large), 10) + largeName
	if rest := d % large / small; rest > 0 {
		s += strconv.FormatInt(int64(rest), 10) + smallName
	}
	return s
}

// shortCount shows a count to three digits: 950, 1.23k, 45.6M.
func shortCount(n int64) string {
	if n < 1000 {
		return strconv.FormatInt(n, 10)
	}
	v := float64(n)
	for _, unit := range []string{"k", "M", "G", "T"} {
		v /= 1000
		if v < 999.5 || unit == "T" {
			return strconv.FormatFloat(v, 'f', max(0, 2-len(strconv.Itoa(int(v)))+1), 64) + unit
		}
	}
	panic("BUG: the last unit takes all")
}

// dollars shows NanoUSD: to the cent from 100 dollars, to a hundredth of a cent below, and tiny sums as such.
func dollars(nano int64) string {
	usd := float64(nano) / 1e9
	switch {
	case nano == 0:
		return "$0"
	case usd < 0.0001:
		return "<$0.0001"
	case usd < 100:
		return "$" + strconv.FormatFloat(usd, 'f', 4, 64)
	default:
		return "$" + strconv.FormatFloat(usd, 'f', 2, 64)
	}
}
