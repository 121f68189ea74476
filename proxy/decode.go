package proxy

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/valyala/fasthttp"

	"llm-auto-optimizer/proxy/limit"
	"llm-auto-optimizer/proxy/provider"
	"llm-auto-optimizer/proxy/upstream"
)

// The bounds of the workload classes, in estimated input tokens.
const (
	lightTokens  = 1_000
	mediumTokens = 8_000
)

// decode reads the request: where it goes, what it asks for and its body, and refuses what could be read in two ways.
func (p *Proxy) decode(ctx *fasthttp.RequestCtx, x *Exchange) error {
	announced, err := p.decodeHead(x)
	if err != nil {
		return err
	}
	if err := p.readBody(ctx, x, announced); err != nil {
		return err
	}
	x.scan()
	return nil
}

// decodeHead reads the request's head. announced says that it speaks of a body.
func (p *Proxy) decodeHead(x *Exchange) (announced bool, err error) {
	h := x.header
	x.method = h.Method()
	x.http10, x.isHead = !h.IsHTTP11(), h.IsHead()
	x.provider = x.settings.fallback // for the shape of errors until the real one is known

	if v := h.Protocol(); !bytes.Equal(v, http11) && !bytes.Equal(v, http10) {
		return false, fail(&badVersion, fmt.Errorf("protocol %q", v))
	}
	facts, err := inspect(h)
	if err != nil {
		return false, fail(&badRequest, err)
	}
	uri := h.RequestURI()
	if len(uri) == 0 || uri[0] != '/' {
		return false, fail(&badRequest, errNotOriginForm)
	}
	if hash := bytes.IndexByte(uri, '#'); hash >= 0 {
		uri = uri[:hash] // a fragment is never sent (RFC 9110, section 4.2.5)
	}
	x.path, x.query, _ = bytes.Cut(uri, []byte("?"))
	if err := x.resolve(&facts); err != nil {
		return false, err
	}
	if p.memory.over.Load() { // before the body takes any
		p.memory.refused.Add(1)
		x.client.linger = true
		return false, fail(&overloaded, nil)
	}
	x.limits = x.limitsOf(x.provider.name)
	x.credential, x.sessionName, x.hasConnection = facts.credential, facts.session, facts.connection
	x.upgrade, x.ownHeaders, x.names = facts.upgrade, facts.own, facts.names
	x.operation = provider.OperationOf(x.provider.dialect, x.method, x.path)
	return facts.body, nil
}

// scan looks into what is at hand of the body.
func (x *Exchange) scan() {
	if x.rest == nil {
		x.request = provider.Scan(x.operation, x.path, x.body)
	} else {
		x.request = provider.ScanPrefix(x.operation, x.path, x.body)
	}
	x.bodyLen = len(x.body)
	x.class = classOf(x.bodyLen)
	x.modelID = limit.NameOf(x.request.Model)
	if x.bodyLen > mediaRun && x.metered() {
		x.media, x.pieces = mediaIn(x.body)
	}
}

// class is the workload class of an exchange.
type class uint8

const (
	light class = iota
	medium
	heavy
	classes // number of classes
)

func (c class) String() string { return [classes]string{"light", "medium", "heavy"}[c] }

// classOf sorts requests by size. Four bytes make a token here: it is a coarse cut, not a count.
func classOf(bodyBytes int) class {
	switch tokens := bodyBytes / 4; {
	case tokens <= lightTokens:
		return light
	case tokens <= mediumTokens:
		return medium
	default:
		return heavy
	}
}

// resolve tells the provider: by the first segment of the path where that is a provider's name, else by the path and
// headers of the dialects' own APIs.
func (x *Exchange) resolve(facts *headerFacts) error {
	first, rest := firstSegment(x.path)
	if s := x.settings.providers[string(first)]; s != nil {
		x.provider, x.path = s, rest
		return nil
	}
	d := provider.Detect(x.path, facts.anthropicVersion, facts.googAPIKey)
	s := x.settings.builtin[d]
	if s == nil || (d == provider.OpenAI && string(first) != "v1") {
		return fail(&unknownRoute, nil)
	}
	x.provider = s
	return nil
}

// firstSegment splits "/a/b" into "a" and "/b".
func firstSegment(path []byte) (first, rest []byte) {
	path = path[1:]
	if i := bytes.IndexByte(path, '/'); i >= 0 {
		return path[:i], path[i:]
	}
	return path, nil
}

// headerFacts is what decode needs of the headers.
type headerFacts struct {
	anthropicVersion bool
	googAPIKey       bool
	body             bool // announced, be it an empty one
	upgrade          bool
	connection       bool   // there is a Connection header
	credential       []byte // the first that the headers hold; aliases them, as does session
	session          []byte // what x-llmopt-session names
	own              bool   // there are x-llmopt-… headers
	names            uint64 // bits of the names that there are
}

// nameBit is one of 64 for the name of a header: most that nobody has sent are known by it.
func nameBit[T ~string | ~[]byte](name T) uint64 {
	return 1 << ((len(name)*5 ^ int(name[0]|0x20)) & 63)
}

var http10, http11 = []byte("HTTP/1.0"), []byte("HTTP/1.1")

var (
	errNotOriginForm = errors.New("request target does not start with a slash")
	errFolded        = errors.New("header line is folded")
	errHeaderName    = errors.New("header name holds characters that are not allowed")
	errHeaderValue   = errors.New("header value holds a control character")
	errFraming       = errors.New("request carries both Content-Length and Transfer-Encoding")
	errEncoding      = errors.New("transfer encoding is not chunked")
	errDuplicate     = errors.New("header that must be single is repeated")
)

// inspect looks at every header line as the client sent it. fasthttp is lenient in places where two servers may read
// the same bytes differently, which is how requests are smuggled; whatever is ambiguous is refused.
func inspect(h *fasthttp.RequestHeader) (f headerFacts, err error) {
	var length, empty, encoding, host, connectionUpgrade, hasUpgrade bool
	for raw := h.RawHeaders(); len(raw) > 0; {
		var line []byte
		line, raw = nextLine(raw)
		if len(line) == 0 {
			break
		}
		if line[0] == ' ' || line[0] == '\t' {
			return f, errFolded
		}
		name, value, ok := splitLine(line)
		if !ok {
			return f, errHeaderName
		}
		f.names |= nameBit(name)
		for _, c := range value {
			if c < ' ' && c != '\t' || c == 0x7f {
				return f, errHeaderValue
			}
		}
		if name[0]|0x20 == 'x' && isOwnHeader(name) {
			f.own = true
		}
		switch len(name) {
		case 4:
			if upstream.EqualFold(name, "host") {
				if host {
					return f, errDuplicate
				}
				host = true
			}
		case 7:
			// h2c (RFC 9113, section 3.1) offers another way to speak HTTP, which need not be taken up.
			hasUpgrade = hasUpgrade || upstream.EqualFold(name, "upgrade") && !upstream.HasToken(value, "h2c")
			f.takeCredential(name, value)
		case 9, 13:
			f.takeCredential(name, value)
		case 10:
			if upstream.EqualFold(name, "connection") {
				f.connection = true
				connectionUpgrade = connectionUpgrade || upstream.HasToken(value, "upgrade")
			}
		case 14:
			if upstream.EqualFold(name, "content-length") {
				if length {
					return f, errDuplicate
				}
				length, empty = true, string(value) == "0"
			} else {
				f.googAPIKey = f.googAPIKey || upstream.EqualFold(name, "x-goog-api-key")
				f.takeCredential(name, value)
			}
		case len(sessionHeader):
			if upstream.EqualFold(name, sessionHeader) {
				f.session = value
			}
		case 17:
			if upstream.EqualFold(name, "transfer-encoding") {
				if encoding {
					return f, errDuplicate
				}
				if encoding = true; !upstream.EqualFold(value, "chunked") {
					return f, errEncoding
				}
			} else {
				f.anthropicVersion = f.anthropicVersion || upstream.EqualFold(name, "anthropic-version")
			}
		case len(webSocketProtocols):
			if len(f.credential) == 0 && upstream.EqualFold(name, webSocketProtocols) {
				f.credential = protocolKey(value)
			}
		}
	}
	if length && encoding {
		return f, errFraming
	}
	f.body = length || encoding
	// A tunnel starts behind the head, so a request with a body can't become one: the offer is not passed on.
	f.upgrade = connectionUpgrade && hasUpgrade && !encoding && (!length || empty)
	return f, nil
}

// isOwnHeader tells whether a header is meant for us.
func isOwnHeader(name []byte) bool {
	return len(name) > len(ownPrefix) && upstream.EqualFold(name[:len(ownPrefix)], ownPrefix)
}

func (f *headerFacts) takeCredential(name, value []byte) {
	if len(f.credential) == 0 && isCredential(name) {
		f.credential = withoutScheme(value)
	}
}

// nextLine cuts the first line off, without its line end.
func nextLine(p []byte) (line, rest []byte) {
	i := bytes.IndexByte(p, '\n')
	if i < 0 {
		return p, nil
	}
	line, rest = p[:i], p[i+1:]
	if i > 0 && line[i-1] == '\r' {
		line = line[:i-1]
	}
	return line, rest
}

// splitLine splits a header line into its name and its value without surrounding white space.
func splitLine(line []byte) (name, value []byte, ok bool) {
	colon := bytes.IndexByte(line, ':')
	if colon <= 0 || !upstream.IsToken(line[:colon]) {
		return nil, nil, false
	}
	return line[:colon], upstream.Trim(line[colon+1:]), true
}
