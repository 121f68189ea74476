package main

// benchCmd groups what measures.
type benchCmd struct {
	Load    benchLoadCmd    `cmd:"" help:"Send load to any LLM API and measure what comes back."`
	Compare benchCompareCmd `cmd:"" help:"Measure what proxies cost side by side."`
	Stats   benchStatsCmd   `cmd:"" help:"Judge the statistics on labelled public series."`
	Report  benchReportCmd  `cmd:"" help:"Write the page on performance from the newest comparison."`
	Relay   benchRelayCmd   `cmd:"" hidden:"" help:"Run the bare relay that others are compared with."`
}
