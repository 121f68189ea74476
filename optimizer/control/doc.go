// Package control is the admin service: what operators, commands and dashboards ask a running server. One port, net/http:
//
//	/llmopt.control.v1.Admin/…   the API of controlpb/control.proto, as gRPC, gRPC-Web and Connect (plain JSON)
//	/metrics                     Prometheus text format
//	/healthz, /readyz            liveness and readiness, open to everyone
//	/version                     the build, as JSON
//	/debug/pprof/                behind Options.Pprof
//
// With a token every path but the two health checks asks for it. Without one the service is for the loopback interface
// only (the configuration sees to that), and requests under foreign host names are refused: a web page that rebinds its
// own name to 127.0.0.1 gets nothing.
//
// The service reads windows, policy and configuration and never holds a lock that the request path takes.
package control
