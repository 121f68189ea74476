// Package sim is a simulated LLM provider: it speaks the wire formats of OpenAI, Anthropic and Gemini, as fast or slow
// as ordered, and breaks in every way providers and the networks before them do.
//
// It is an independent witness of what a proxy does: it shares no code with the proxy, reads requests with an own strict
// HTTP/1.1 parser on the bare connection, notices clients that leave even before the first byte, and counts everything.
//
// # What it says
//
// Answers are functions of the prompt and the seed, and of the time where change says so: the same prompt gets the same
// text, calls and token counts, streamed or not, with and without a proxy in between. Ids are unique unless ids=stable; times are those of
// Options.Now. Tokens are bytes of the prompt's JSON by four; images, audio and documents have their own tariffs. A
// prompt prefix that the same key sent before is reported as read from the cache: in blocks of 128 tokens as OpenAI
// does, or as far as cache_control marks it for Anthropic, with its look-back of 20 blocks, its lifetimes and its rules
// of what may be marked; from 1024 tokens on, as with the real ones. A request that
// offers tools has them called, until its last message is a tool's result. A key that is missing, is "bad" or ends in
// "-bad" is refused. Models whose name begins with "missing" do not exist.
//
// # Directives
//
// Directives steer a single answer. They are read, the later before the earlier, from Options.Directives, the script,
// the model's name and the request's headers:
//
//	x-sim: ttft=50ms,tokens=100          all in one header
//	x-sim-fault: reset-mid               one a header
//	"model": "gpt-4o@sim:tokens=100"     behind any model's name
//	"model": "sim:fault=429"             instead of one
//
// A directive that is not understood is answered with 400, whatever it is.
//
//	ttft=D          time to the first byte: a duration, or median~sigma for a lognormal one (300ms~0.5)
//	tpot=D          time per output token, likewise
//	tokens=N        length of the answer in tokens, or median~sigma
//	chunk=N         tokens in a frame of a stream (1)
//	batch=N         frames that go into one write when no time passes between them (1)
//	reasoning=N     reasoning tokens, instead of what effort or budget ask for
//	input=N         input tokens that usage states
//	cached=N        input tokens that usage states as read from the cache
//	audio=N         output tokens that usage states as audio, beside the text
//	calls=N         tool calls (1); 0 answers in text
//	seed=N          say something else
//	change=D        say something else each time that D has passed, as if the facts had changed; see [Version] for when
//	ids=stable      make ids functions of the prompt, too; ids=unique undoes that
//	fault=F+F…      see below; fault=none suffers none, whatever script and rates say
//	after=N         frames of a stream, or bytes of a plain body, that come before a fault in the middle (half)
//	stall=D         length of a stall (0: until the client leaves)
//	interval=D      between two bytes of a drip (1ms)
//	idle=D          between an answer and an idle-close (0)
//	retry-after=D   what a 429 (1s), 503 or 529 says
//	size=N          bytes of a huge answer, a big header, a sound, an image, a file
//	echo=true       answer with the request itself, whatever its path
//
// # Faults
//
// A number from 400 to 599, or 204, is answered in the provider's shape. The rest goes by name. In the middle of an
// answer: reset-mid, close-mid (no last chunk), stall-mid, truncated-chunk, bad-chunk, no-end (the terminal event is
// missing, the HTTP framing is fine), error-event. Before it: reset-head, close-head, stall-head, early-413 (before the
// body is read, then a lingering close), early-413-close (an abrupt one), early-stream (half of the stream before the
// body is read); these three work as headers, options or script only. Of its content: error-body (200 with an error),
// empty, huge, no-usage-option (400 if the request has stream_options.include_usage), no-cache-control (400 if it has
// cache_control). Of its framing: length-long (Content-Length beyond the body), length-short (surplus bytes), surplus (a
// whole response too many), http10 (ends with the connection), chunked (a plain answer in chunks), drip (byte by byte),
// gzip, br, zstd, deflate (if accepted). Of its head: interim-100, interim-103, odd-case, duplicate-headers, hop-headers,
// big-header. Of its events: comments, crlf. And idle-close: the connection is closed after the answer, although the
// answer promised to keep it.
//
// Faults add up where that makes sense: gzip+drip+reset-mid.
//
// # Quotas
//
// Options.Quota, and POST /sim/quota with the same text while it runs, say how much is let through ("" lifts all limits):
//
//	requests=N/P      in each period P: s, m, min, h, d or a duration
//	tokens=N/P        of prompt and answer together, as OpenAI counts them
//	input=N/P         of prompts; with Anthropic without what was read from the cache
//	output=N/P        of answers
//	concurrent=N      requests at a time
//	kind=bucket       fills up evenly, or kind=window: fixed windows, which begin at whole periods
//	burst=D           a bucket holds what comes back in that time (its period)
//	scope=key         counted for each API key, or all, model, key+model
//	headers=on        the dialect's own spelling, or off: nobody is told; mistral: as Mistral spells it
//	boast=N%          headers tell of that much more than is let through
//	retry-after=on    or off: refusals do not say when to come back
//
// What is over a limit is refused with the dialect's own 429, and takes nothing. Prompts are counted before they are answered, by
// bytes, OpenAI's tokens with the limit of the answer on top; once the answer is known, its real tokens take their place, which may leave
// a debt. Only what generates or embeds counts. Headers tell what is left after the request; their limit is what a bucket holds.
// Anthropic tells tokens rounded to thousands, where the limit is ten of them; Gemini tells nothing. OpenAI has no headers for
// input and output apart: those limits are hidden. [Stats].Quota has what was let through and refused.
//
// # Endpoints of its own
//
// /v1/echo and everything under /echo/ answer with the request itself, see [Echo]. GET /sim/stats is [Stats] as JSON,
// POST /sim/reset sets it back, POST /sim/script takes a script (see [ParseScript]) as its body, POST /sim/quota a quota, GET
// /sim/health is always fine. WebSockets at …/realtime say session.created and then echo every message.
package sim
