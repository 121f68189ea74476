// Package storage keeps what must outlive the process: sealed windows, cost totals, policy snapshots, the journal and values by name.
// It keeps bytes and knows no types of ours; keys are built here, values encode themselves.
//
// The database is badger. It runs in a process of its own, since nothing less keeps its failures away from the proxy: a full disk
// ends the process that has mapped the files, and a damaged file may. [Start] begins that process and begins it anew when it dies;
// [OpenDir] opens a directory in this process, for commands that work on a directory nobody serves from. Both give a
// [Store]. See DESIGN.md.
//
// It also keeps what may get lost: [Cache] holds answers in memory, and on disk in a second database.
package storage
