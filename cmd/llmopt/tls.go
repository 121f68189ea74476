package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
)

// certified is what a listener that speaks TLS shows, and whom it takes. It can be replaced at any time: connections that stand stay.
type certified struct{ current atomic.Pointer[tls.Config] }

// newCertified is nil where cert is empty: the listener speaks plain HTTP then.
func newCertified(cert, key, clientCA string, protocols ...string) (*certified, error) {
	if cert == "" {
		return nil, nil
	}
	t, err := loadTLS(cert, key, clientCA, protocols)
	if err != nil {
		return nil, err
	}
	c := &certified{}
	c.current.Store(t)
	return c, nil
}

// prepare loads other files; commit shows them. A listener that speaks plain HTTP goes on doing so.
func (c *certified) prepare(cert, key, clientCA string) (commit func(), err error) {
	if c == nil || cert == "" {
		return func() {}, nil
	}
	t, err := loadTLS(cert, key, clientCA, c.current.Load().NextProtos)
	if err != nil {
		return nil, err
	}
	return func() { c.current.Store(t) }, nil
}

// config is nil for plain HTTP.
func (c *certified) config() *tls.Config {
	if c == nil {
		return nil
	}
	return &tls.Config{
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return c.current.Load(), nil },
		MinVersion:         tls.VersionTLS12, // each of those configurations says so too
	}
}

func loadTLS(cert, key, clientCA string, protocols []string) (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, err
	}
	t := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, NextProtos: protocols}
	if clientCA != "" {
		if t.ClientCAs, err = loadPool(clientCA); err != nil {
			return nil, err
		}
		t.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return t, nil
}

// loadPool reads a file of trusted certificates.
func loadPool(path string) (*x509.CertPool, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s holds no certificate in PEM format", path)
	}
	return pool, nil
}

// adminTLS is how a command speaks to an admin service over TLS: it trusts ca, else the certificate of the settings in the environment
// (which is that of the server beside it), else the system's; and shows cert where there is one.
func adminTLS(ca, cert, key, own string) (*tls.Config, error) {
	t := &tls.Config{MinVersion: tls.VersionTLS12}
	var err error
	switch {
	case ca != "":
		if t.RootCAs, err = loadPool(ca); err != nil {
			return nil, fmt.Errorf("%w: --ca: %w", errUsage, err)
		}
	case own != "":
		if err := pin(t, own); err != nil {
			return nil, fmt.Errorf("%w: OPTIMIZER_ADMIN__TLS_CERT: %w", errUsage, err)
		}
	}
	if (cert == "") != (key == "") {
		return nil, fmt.Errorf("%w: --cert and --key go together", errUsage)
	}
	if cert != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("%w: --cert: %w", errUsage, err)
		}
		t.Certificates = []tls.Certificate{pair}
	}
	return t, nil
}

var errOtherCertificate = errors.New("the server shows another certificate")

// pin accepts exactly the first certificate in a file, whatever name it is for: the server beside a command is reached by a loopback
// address.
func pin(t *tls.Config, path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return fmt.Errorf("%s holds no certificate in PEM format", path)
	}
	t.InsecureSkipVerify = true //nolint:gosec // what follows is stricter
	t.VerifyConnection = func(state tls.ConnectionState) error {
		if !bytes.Equal(state.PeerCertificates[0].Raw, block.Bytes) {
			return errOtherCertificate
		}
		return nil
	}
	return nil
}
