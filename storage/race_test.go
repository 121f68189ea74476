//go:build race

package storage

// raceEnabled says that the race detector runs. It makes pools lose what they are given, and with it what ristretto counts.
const raceEnabled = true
