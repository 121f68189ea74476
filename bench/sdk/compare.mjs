// Compares what SDKs return, raise and see on the wire.
import assert from 'node:assert/strict';

// recorder is a fetch for an SDK that keeps the heads of answers and, while asked to, their bodies.
export function recorder() {
  const seen = [];
  const record = async (...request) => {
    const answer = await fetch(...request);
    const body = record.bodies ? await answer.clone().text() : undefined;
    if (!/^http/.test(answer.url)) return answer; // the SDKs probe fetch with data: URLs
    seen.push({ status: answer.status, headers: headersOf(answer.headers), own: answer.headers.get('x-llmopt-id'), body });
    return answer;
  };
  record.bodies = false;
  record.take = () => seen.splice(0);
  return record;
}

// Headers that are the gateway's, of one connection, or of a moment.
const passing = /^(connection|keep-alive|transfer-encoding|date|x-llmopt-.*|anthropic-ratelimit-.*-reset)$/;

const headersOf = (headers) => [...headers].filter(([name]) => !passing.test(name));

// Fields of answers that tell the time.
const times = new Set(['created', 'created_at', 'completed_at', 'expires_at', 'in_progress_at', 'cancelling_at', 'createTime']);

// plain is a result as data, without what differs from one moment to the next.
function plain(value) {
  const text = JSON.stringify(value, (key, v) => {
    if (times.has(key)) return typeof v;
    return key === 'sdkHttpResponse' ? undefined : v; // its headers are compared on the wire
  });
  return text === undefined ? undefined : JSON.parse(text);
}

// facts are all that a program sees in an error of an SDK.
function facts(error) {
  const { headers, cause, ...fields } = error; // the cause of a lost connection names its ports
  return plain({ class: error.constructor.name, name: error.name, message: error.message, cause: cause?.code, ...fields });
}

// outcome is what a call returned or raised.
const outcome = (call) => Promise.resolve().then(call).then((value) => ({ value }), (error) => ({ error }));

// sameHead compares the heads of an answer. A length that the provider has told must stay; one that it has not told
// may be known by the gateway. What a compressed answer's length is depends on the time of day in it.
function sameHead(through, direct) {
  const told = direct.headers.some(([name]) => name === 'content-length') && !direct.headers.some(([name]) => name === 'content-encoding');
  const seen = ({ status, headers }) => ({ status, headers: headers.filter(([name]) => told || name !== 'content-length') });
  assert.deepEqual(seen(through), seen(direct));
}

// same makes a call with the one client and with the other. What it returns or raises must be equal, and so must the
// heads of all answers, unless heads is false. It returns or raises what it did through the gateway.
export async function same(clients, call, { heads = true } = {}) {
  for (const c of [clients.direct, clients.through]) c.wire.take();
  const direct = await outcome(() => call(clients.direct.client));
  const through = await outcome(() => call(clients.through.client));
  const of = (o) => ('error' in o ? { error: facts(o.error) } : { value: plain(o.value) });
  assert.deepEqual(of(through), of(direct));
  const wire = { direct: clients.direct.wire.take(), through: clients.through.wire.take() };
  assert.equal(wire.through.length, wire.direct.length);
  if (heads) wire.through.forEach((a, i) => sameHead(a, wire.direct[i]));
  assert.ok(wire.through.every((a) => a.own) && wire.direct.every((a) => !a.own), 'one of them went the other way');
  if ('error' in through) throw through.error;
  return through.value;
}

// raised returns what a call raises.
export async function raised(call) {
  const { error, value } = await outcome(call);
  assert.ok(error, `no error but ${JSON.stringify(value)}`);
  return error;
}

// collect returns all events of a stream.
export async function collect(stream) {
  const all = [];
  for await (const event of await stream) all.push(event);
  return all;
}

// A picture, as far as a provider that does not look is concerned: so many bytes in base64.
export const picture = (bytes) => Buffer.alloc(bytes, 'picture').toString('base64');
