//go:build ignore

// Command pricegen makes prices.tsv, the price table that is built in, from the public list below the directory that
// OPTIMIZER_DATA names: `OPTIMIZER_DATA=… go generate ./config`. It prints the models that it leaves out.
package main

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"llm-auto-optimizer/config"
)

// The list that the table comes from.
const (
	input  = "prices/model_prices_and_context_window.json.gz"
	date   = "2026-08-01"
	origin = "LiteLLM price list (github.com/BerriAI/litellm), MIT"
	output = "prices.tsv"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "pricegen:", err)
		os.Exit(1)
	}
}

func run() error {
	data := os.Getenv("OPTIMIZER_DATA")
	if data == "" {
		return errors.New("OPTIMIZER_DATA is not set: name the directory of the public data")
	}
	f, err := os.Open(filepath.Join(data, input))
	if err != nil {
		return err
	}
	defer f.Close()
	unpacked, err := gzip.NewReader(f)
	if err != nil {
		return err
	}
	table, err := config.ParsePrices(unpacked)
	if err != nil {
		return err
	}
	for _, s := range table.Skipped() {
		fmt.Printf("left out: %s: %s\n", s.Model, s.Reason)
	}
	var text bytes.Buffer
	if err := table.WriteCompact(&text, date, origin); err != nil {
		return err
	}
	fmt.Printf("%d models, %d bytes\n", table.Len(), text.Len())
	return os.WriteFile(output, text.Bytes(), 0o644)
}
