// Package config holds the typed settings of the program and the table of model prices.
//
// Settings come in layers, later ones win: the embedded default.toml (the only source of defaults, every key documented
// there), the file named by --config, then environment variables OPTIMIZER_SECTION__KEY. Load reports every problem it
// finds at once. Secrets are references in files, masked wherever they are printed, and shown by Reveal only.
//
// Prices are facts about models in integers: PicoUSD per token. See PriceTable and PriceBook.
package config
