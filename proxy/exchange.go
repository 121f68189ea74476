package proxy

import (
	"math/rand/v2"
	"time"

	"github.com/valyala/fasthttp"

	"llm-auto-optimizer/analysis/window"
	"llm-auto-optimizer/config"
	"llm-auto-optimizer/proxy/admission"
	"llm-auto-optimizer/proxy/limit"
	"llm-auto-optimizer/proxy/pick"
	"llm-auto-optimizer/proxy/policy"
	"llm-auto-optimizer/proxy/provider"
	"llm-auto-optimizer/proxy/upstream"
)

// maxPooledBuffer bounds what an exchange's buffers may hold when it returns to the pool: one huge prompt must not pin
// its memory there.
const maxPooledBuffer = 64 << 10

// Exchange is one client request and its answer. It is owned by the client connection's goroutine from Handle until
// record.
type Exchange struct {
	p        *Proxy
	settings *settings
	policy   *policy.Snapshot
	client   *clientConn

	// decode
	start     time.Time
	header    *fasthttp.RequestHeader
	names     uint64                   // bits of the names of its lines; 0: not known yet
	peek      func(name string) []byte // peekHeader, bound once; stays with the pooled exchange
	id        [idLen]byte
	provider  *providerState
	limits    policy.Provider
	operation provider.Operation
	method    []byte // aliases the request, valid until Handle returns; so do path and query
	path      []byte // raw path behind the provider's prefix
	query     []byte // raw query, without '?'

	credential    []byte // from the headers; aliases the request, as does sessionName
	sessionName   []byte
	hasConnection bool // there is a Connection header

	bodyless   bool // the request has no body and announces none
	isHead     bool
	http10     bool
	upgrade    bool
	body       []byte // buffered request body, all of it unless rest is set
	source     clientBody
	rest       *clientBody // &source: what is left of a body over the replay limit; nil otherwise
	restLen    int64       // of the whole body; -1 when it is chunked
	bodyLen    int         // bytes of body seen, also after the buffer was let go
	ownHeaders bool        // there are x-llmopt-… headers
	request    provider.Request
	class      class

	// admit
	caller  hashID
	session hashID
	subject config.Subject // what flags are asked about
	who     limit.ID       // the caller, as limits and queues tell them apart
	known   *callerState   // nil: the caller has no name
	modelID limit.ID       // the model that the request names
	media   int            // bytes of the body that are pictures and documents
	pieces  int            // of those
	second  bool           // it is the hedge of another one

	cache caching

	// reserve
	permit  admission.Pass  // what limits have let the exchange in with
	refusal limit.Refusal   // by the limit that has not
	queued  time.Duration   // waited for room
	used    admission.Usage // tokens of all attempts
	limited limited

	// route
	route        *routeState // nil: straight to the provider that the path names
	arm          policy.Arm
	classified   bool // class and arm are the route's
	walk         pick.Walk
	choice       pick.Choice
	routeTarget  *routeTarget
	lease        pick.Lease
	origin       *providerState // whom the client addressed
	clientPath   []byte
	aimedPath    []byte        // with another model in it; stays with the pooled exchange
	newModel     string        // that takes the place of the client's; empty: it stays
	firstByte    time.Duration // bound that the request sets; 0: none
	attemptsLeft int
	unhedged     bool           // the request wants no hedge
	hedged       bool           // it has had one
	lost         config.NanoUSD // what the slower of two attempts has cost
	ownBody      []byte         // of a double: its buffer, while body is the first's
	tried        triedTargets
	tale         tale
	target       *target
	series       *window.Series
	price        *config.Price // nil: unpriced
	tier         config.Tier

	// dispatch
	conn         *upstream.Conn
	head         []byte          // request head as sent upstream; scratch before that
	loan         *requestBuffers // where the memory of body, head and edited comes from; nil once it was given back
	edited       []byte          // request body as sent upstream, where it differs from body
	askedUsage   bool            // the stream was asked for usage on the client's behalf
	prompt       promptCaching
	marksRefused uint32 // atomic, for a double may be made meanwhile; not 0: a provider has refused marks, the request goes without
	upload       *upload
	attempts     int
	attempt      attempt
	pace         paced
	waited       time.Duration // time spent waiting for the client's body and for connections

	// receive, stream
	meter      *provider.Meter // stays with the pooled exchange, as the scrubber does; reset before use
	scrubber   *provider.Scrubber
	scrub      bool
	identity   bool // the answer's body is not compressed
	format     provider.Format
	status     int
	length     int64         // of the body as the client gets it; -1 when not known
	retryAfter time.Duration // what the answer asks for, or what a refusal tells
	held       []byte        // answer body taken before its head goes out; later scrubbed bytes
	streamed   bool          // the answer's body is relayed piece by piece
	lastRead   time.Time     // when the last read from the provider returned
	armed      time.Time     // when the idle deadline was last moved
	delivered  int64         // bytes of body given to the client
	out        []byte        // of the answer, not yet written: at first its head; at last scratch
	begun      bool          // writing the answer has begun

	trace *Trace // nil: not sampled

	// record
	kind      *kindOfFailure // nil when all went well, or the provider's own error went through
	failure   error          // the detail behind kind, for the log
	usage     provider.Usage
	estimated bool
	unpriced  bool
	cost      config.NanoUSD // of the attempt
	total     config.NanoUSD // of all attempts
	accounted bool           // usage and cost of the attempt are known
	settled   bool           // the attempt has been observed
	overhead  time.Duration
}

// attempt is what is measured of the try under way.
type attempt struct {
	start     time.Time
	sent      time.Time // request on its way
	answered  time.Time // head of the answer read
	content   time.Time // first piece with content
	status    int       // of the answer; 0 when none was seen
	delivered bool      // the request went out in full, so the provider may charge for it
	stale     bool      // it fell on a kept-alive connection that was closed without a byte, as they are
	alone     bool      // it was refused for what its caller asks for alone, as others are let through
	uploadErr error     // the client's body could not be read
}

func (p *Proxy) acquire(ctx *fasthttp.RequestCtx) *Exchange {
	return p.begin(&ctx.Request.Header, clientOf(ctx.Conn()))
}

// begin takes an exchange from the pool.
func (p *Proxy) begin(h *fasthttp.RequestHeader, client *clientConn) *Exchange {
	x := p.exchanges.Get().(*Exchange) //nolint:forcetypeassert // the pool holds nothing else
	x.p = p
	x.settings, x.policy = p.settings.Load(), p.policy.Load()
	x.client = client
	x.start = time.Now()
	x.subject.Draw, x.subject.Route, x.subject.Header = rand.Uint64(), directRoute, x.peek
	x.header = h
	if x.loan == nil {
		x.borrow()
	}
	appendID(x.id[:0], x.start)
	p.metrics.inFlight.Add(1)
	return x
}

// newExchange makes an exchange for the pool.
func newExchange() *Exchange {
	x := &Exchange{meter: &provider.Meter{}, scrubber: &provider.Scrubber{}}
	x.peek = x.peekHeader
	return x
}

// peekHeader is the value of a request header by its name in lower case.
func (x *Exchange) peekHeader(name string) []byte {
	if x.names != 0 && x.names&nameBit(name) == 0 {
		return nil
	}
	return peekFold(x.header, name)
}

// on asks a feature flag.
func (x *Exchange) on(id config.FlagID) bool { return x.settings.flags.On(id, &x.subject) }

// release resets by assignment, so that a new field cannot be forgotten. record is the only caller.
func (p *Proxy) release(x *Exchange) {
	*x = Exchange{
		body: emptied(x.body), head: emptied(x.head), edited: emptied(x.edited), held: emptied(x.held), out: emptied(x.out),
		loan: x.loan, meter: x.meter, scrubber: x.scrubber, peek: x.peek, aimedPath: x.aimedPath[:0],
		cache: caching{record: emptied(x.cache.record), header: x.cache.header[:0], types: x.cache.types[:0]},
	}
	p.exchanges.Put(x)
}

// emptied is a buffer for its next user, or nil where it has grown too large to be kept.
func emptied(b []byte) []byte {
	if cap(b) > maxPooledBuffer {
		return nil
	}
	return b[:0]
}

// requestBuffers is the memory of a request. Many more exchanges wait for pieces of their streams than have requests on the way,
// so it goes from hand to hand.
type requestBuffers struct{ body, head, edited []byte }

// borrow takes memory for the request.
func (x *Exchange) borrow() {
	b := x.p.requests.Get().(*requestBuffers) //nolint:forcetypeassert // the pool holds nothing else
	x.loan, x.body, x.head, x.edited = b, b.body, b.head, b.edited
}

// giveBack lets the request's memory go while the answer streams: no repetition can need it any more.
func (x *Exchange) giveBack() {
	if x.upload != nil {
		return // it may be on its way still
	}
	*x.loan = requestBuffers{emptied(x.body), emptied(x.head), emptied(x.edited)}
	x.p.requests.Put(x.loan)
	x.loan, x.body, x.head, x.edited = nil, nil, nil, nil
	x.request = provider.Request{Stream: x.request.Stream}
}
