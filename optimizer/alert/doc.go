// Package alert tells people of trouble: alerts go to webhooks, as JSON or as Slack takes them. Nobody who raises one waits. An alert that goes on is not told
// again and again, and when it ends that is told too. Whatever can't be delivered is tried again for a while, then dropped and counted.
package alert
