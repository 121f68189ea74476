// Package cache is the pure core of the response cache: which request may share an answer, which answers may be kept, how they are stored, told in
// another form, and when they are too old.
//
//	request ─▶ Reader.Read ─▶ Key, Verdict ──▶ store ──▶ Decode ─▶ Entry.State ─▶ Verbatim or Converter.Append ─▶ client
//	answer ──▶ Checker.Complete ─▶ Entry.Append ─▶ store
//
// Everything here is pure: bytes, times and random draws in, bytes and verdicts out. It takes no locks, and what a request waits for (Read, Decode)
// allocates nothing once a pooled Reader has grown. A wrong answer is worse than none: what is not certainly right is a miss.
//
// Words: a question is a request as far as its answer depends on it; an entry is an answer as it is stored; a form is how a client wants it, as one
// document or as a stream; grade and verdict say whether an answer may be kept, a refusal why it was not.
//
// DESIGN.md in this folder says why it is so.
package cache
