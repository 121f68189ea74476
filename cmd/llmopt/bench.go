package main

// benchCmd groups what measures.
type benchCmd struct {
	Load benchLoadCmd `cmd:"" help:"Send load to any LLM API and measure what comes back."`
}
