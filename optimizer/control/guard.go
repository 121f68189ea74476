package control

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strings"

	"connectrpc.com/connect"
)

var (
	errToken = errors.New("a bearer token is needed: authorization: Bearer …")
	errHost  = errors.New("this host name is not served: use localhost or a loopback address, or set admin.token")
	errPanic = errors.New("internal error")
)

// guard lets through who may use the service. With a token that is who presents it; without one, who asks for it under
// a name that no web page can own. Requests that a browser makes for another site's page are refused either way.
func (s *Server) guard(next http.Handler) http.Handler {
	sameOrigin := http.NewCrossOriginProtection().Handler(next)
	admitted := s.admitLocal
	if !s.options.Token.Empty() {
		admitted = s.admitToken()
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == pathHealth || r.URL.Path == pathReady:
			next.ServeHTTP(w, r)
		case admitted(w, r):
			sameOrigin.ServeHTTP(w, r)
		}
	})
}

// admitToken returns a check for the token. It answers those it does not admit.
func (s *Server) admitToken() func(http.ResponseWriter, *http.Request) bool {
	want := sha256.Sum256([]byte(s.options.Token.Reveal())) // equal lengths: comparing takes the same time for every guess
	return func(w http.ResponseWriter, r *http.Request) bool {
		scheme, given, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		got := sha256.Sum256([]byte(strings.TrimSpace(given)))
		if subtle.ConstantTimeCompare(got[:], want[:]) == 1 && strings.EqualFold(scheme, "Bearer") {
			return true
		}
		w.Header().Set("WWW-Authenticate", `Bearer realm="llmopt"`)
		s.refuse(w, r, http.StatusUnauthorized, connect.CodeUnauthenticated, errToken)
		return false
	}
}

// admitLocal checks the host name. It answers those it does not admit.
func (s *Server) admitLocal(w http.ResponseWriter, r *http.Request) bool {
	if s.knownHost(r.Host) {
		return true
	}
	s.refuse(w, r, http.StatusForbidden, connect.CodePermissionDenied, errHost)
	return false
}

// knownHost tells whether a Host header can only come from somebody who meant this server. Browsers always send one, so
// its absence (HTTP/1.0) is no page's doing.
func (s *Server) knownHost(header string) bool {
	host := header
	if name, _, err := net.SplitHostPort(header); err == nil {
		host = name
	}
	host = strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
	if host == "" || host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	if ip, err := netip.ParseAddr(host); err == nil && ip.Unmap().IsLoopback() {
		return true
	}
	return s.options.Host != "" && strings.EqualFold(host, s.options.Host)
}

// recoverPanics turns a panic into an internal error of that request.
func (s *Server) recoverPanics(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			p := recover()
			if p == nil {
				return
			}
			if p == http.ErrAbortHandler { //nolint:errorlint // net/http's own way to cut a connection; it compares likewise
				panic(p)
			}
			s.options.Log.Error().Interface("panic", p).Bytes("stack", debug.Stack()).Str("path", r.URL.Path).Msg("admin request panicked")
			s.refuse(w, r, http.StatusInternalServerError, connect.CodeInternal, errPanic)
		}()
		next.ServeHTTP(w, r)
	})
}

// refuse answers with an error, for API calls in the protocol of the call.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, status int, code connect.Code, err error) {
	if s.errors.IsSupported(r) {
		_ = s.errors.Write(w, r, connect.NewError(code, err)) // a client that left needs no answer
		return
	}
	http.Error(w, err.Error(), status)
}
