// Package flight shares what one request brings among all who ask for the same meanwhile. A flight is the request under way: its leader does the work and
// publishes what comes, its followers read that from the beginning and then live, each at its own pace. Nobody waits for anybody else but for the leader's news.
//
// It knows nothing of requests and answers: H is what a leader tells ahead of the bytes, E how it came to an end.
package flight
