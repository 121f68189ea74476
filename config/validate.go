package config

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
)

var errSecretSize = fmt.Errorf("larger than %v", Size(maxSecret))

// reservedNames are first segments of paths that mean something else than a provider.
var reservedNames = []string{"v1", "v1beta", "v1alpha", "healthz", "readyz", "metrics", "version", "debug"}

// validate checks what no single value shows. Keys that have been reported are not reported again.
func (l *loader) validate(c *Config) {
	if c.Admin.Token.Empty() && !l.bad["admin.token"] && !IsLoopback(c.Admin.Listen) {
		l.complain("admin.listen", quote(c.Admin.Listen), "not a loopback address, which needs admin.token", "")
	}
	if sameAddress(c.Server.Listen, c.Admin.Listen) {
		l.complain("admin.listen", quote(c.Admin.Listen), "the address of server.listen", "")
	}
	l.validateTLS("server", c.Server.TLSCert, c.Server.TLSKey)
	l.validateTLS("admin", c.Admin.TLSCert, c.Admin.TLSKey)
	if c.Admin.ClientCA != "" {
		l.requireCertificates("admin.client_ca", c.Admin.ClientCA)
		if c.Admin.TLSCert == "" {
			l.complain("admin.client_ca", quote(c.Admin.ClientCA), "needs admin.tls_cert beside it", "")
		}
	}
	if c.Prices.File != "" {
		if info, err := os.Stat(c.Prices.File); err != nil {
			l.complain("prices.file", quote(c.Prices.File), plain(err), "")
		} else if info.IsDir() {
			l.complain("prices.file", quote(c.Prices.File), "a directory", "")
		}
	}
	for _, name := range c.ProviderNames() {
		p := c.Providers[name]
		l.validateProvider(&p)
		c.Providers[name] = p
	}
	l.validateAlerts(&c.Alerts)
	l.validateCache(c)
	l.validateBudget("budget", &c.Budget)
	l.validateCallers(c)
	for _, k := range c.LimitList() {
		l.validateLimit(c, &k)
	}
	for _, r := range c.RouteList() {
		l.validateBudget("routes."+r.Name+".budget", &r.Budget)
		l.validateRoute(c, &r)
	}
}

// validateTLS checks the certificate of a listener.
func (l *loader) validateTLS(section, cert, key string) {
	certKey, keyKey := section+".tls_cert", section+".tls_key"
	switch {
	case cert == "" && key == "":
	case key == "":
		l.complain(certKey, quote(cert), "needs "+keyKey+" beside it", "")
	case cert == "":
		l.complain(keyKey, quote(key), "needs "+certKey+" beside it", "")
	default:
		l.requireFile(keyKey, key)
		if l.requireFile(certKey, cert) && !l.bad[keyKey] {
			if _, err := tls.LoadX509KeyPair(cert, key); err != nil {
				l.complain(certKey, quote(cert), "no pair with "+keyKey+": "+plain(err), "")
			}
		}
	}
}

// requireCertificates checks a file of trusted certificates and returns what it holds.
func (l *loader) requireCertificates(key, path string) []byte {
	pem, err := os.ReadFile(path)
	switch {
	case err != nil:
		l.complain(key, quote(path), plain(err), "")
	case !x509.NewCertPool().AppendCertsFromPEM(pem):
		l.complain(key, quote(path), "holds no certificate in PEM format", "")
	default:
		return pem
	}
	return nil
}

func (l *loader) validateProvider(p *Provider) {
	prefix := "providers." + p.Name
	l.validatePacing(p)
	if slices.Contains(reservedNames, p.Name) {
		l.complain(prefix, "", "a reserved name", "other than "+strings.Join(reservedNames, ", "))
	}
	if key := prefix + ".base_url"; p.BaseURL == "" && !l.bad[key] {
		l.bad[key] = true
		o := l.originOf(key)
		if o.rank == rankDefault { // not set at all: where the provider itself is mentioned
			o = l.origins[prefix]
		}
		l.report(Problem{o.source, o.line, key, "", "required", stringKinds["base_url"].allowed}, o.rank)
	}
	if _, both := p.Headers[p.authHeader()]; both && !p.APIKey.Empty() {
		l.complain(prefix+".headers."+p.authHeader(), "", "set by "+prefix+".api_key too", "one of the two")
	}
	if key := prefix + ".tls.ca"; p.TLS.CA != "" {
		if pem := l.requireCertificates(key, p.TLS.CA); pem != nil {
			sum := sha256.Sum256(pem)
			p.TLS.CASum = hex.EncodeToString(sum[:])
		}
	}
}

// authHeader returns the header, in lower case, that carries the provider's key.
func (p *Provider) authHeader() string {
	switch {
	case p.Auth == "bearer" || p.Auth == "" && p.Dialect == "openai":
		return "authorization"
	case p.Auth != "":
		return p.Auth
	case p.Dialect == "gemini":
		return "x-goog-api-key"
	default:
		return "x-api-key"
	}
}

// requireFile reports whether the file can be opened.
func (l *loader) requireFile(key, path string) bool {
	f, err := os.Open(path)
	if err != nil {
		l.complain(key, quote(path), plain(err), "")
		return false
	}
	_ = f.Close() // opened for reading
	return true
}

// sameAddress reports whether two listen addresses can't be bound both.
func sameAddress(a, b string) bool {
	hostA, portA, errA := net.SplitHostPort(a)
	hostB, portB, errB := net.SplitHostPort(b)
	if errA != nil || errB != nil || portA != portB || portA == "0" {
		return false
	}
	every := func(host string) bool { return host == "" || host == "0.0.0.0" || host == "::" }
	return hostA == hostB || every(hostA) || every(hostB)
}

func quote(s string) string { return leaf{typ: stringType}.show(s) }
