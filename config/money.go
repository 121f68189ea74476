package config

// PicoUSD is a price in 1e-12 US dollars, per token: 1 USD per million tokens is 1,000,000 PicoUSD. It holds every
// public price exactly.
type PicoUSD int64

// NanoUSD is an amount of money in 1e-9 US dollars: what an attempt costs.
type NanoUSD int64

// PicoPerNano converts a sum of PicoUSD to NanoUSD.
const PicoPerNano = 1000
