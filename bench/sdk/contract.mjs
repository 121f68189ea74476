// What every SDK may expect of the gateway, whichever it is: the same as of its provider, and typed errors where the
// provider can't answer. A test file describes its SDK and calls contract.
//
//   dialect     of the gateway's provider, and the provider's name
//   version     what a base URL has that names the provider directly
//   forms       of base URLs through the gateway, all good
//   variable    the environment variable for base URLs
//   client      (baseURL or undefined, { fetch, key, retries, timeout, headers }) → a client
//   model       for ask and stream
//   operations  of ask and stream, as the simulator counts them
//   ask         (client, { model, content, signal }) → promise of an answer; content is a text or { text, image }
//   stream      the same → promise of an async iterable
//   textOf      (answer) → its text
//   spoken      (events) → the text of a stream
//   request     (target, headers) checks what the provider sees of the SDK
//   errors      status → class of error, for statuses that a provider answers with
//   gateway     status → class of error, for those of the gateway
//   failure     class of the error that a stream ends in
//   codeOf      (error) → the gateway's code in it
//   compresses  whether its streams may be compressed
//   commented   faults that put comments and unknown events into a stream, as far as the SDK can read that
//   retried     faults after which it tries again, when told to
//   lags        whether a cut connection may keep it from reading what came before the cut
//   leaves      whether leaving the loop over a stream cancels it
//   aborted     (error) → whether that is what the SDK raises when asked to abort
//   timedOut    (error) → likewise after its own timeout
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { collect, picture, raised, recorder, same } from './compare.mjs';
import { eventually, maxBody, replayLimit, script, settled, stage, stats } from './harness.mjs';

const hello = 'Grüße, 世界 👋 "quoted"\n';

export async function contract(sdk, more) {
  const at = await stage(sdk.dialect);
  const connect = (baseURL, options = {}) => {
    const wire = recorder();
    return { wire, client: sdk.client(baseURL, { fetch: wire, key: 'key', retries: 0, ...options }) };
  };
  const pair = (options) => ({
    direct: connect(at.direct + sdk.version, options),
    through: connect(`${at.proxy}/${sdk.dialect}`, options),
  });
  const clients = pair();
  const through = clients.through.client;
  const told = (directives) => ({ model: `${sdk.model}@sim:${directives}`, content: hello });
  const context = { at, clients, connect, pair, sdk };
  const callsTo = async (sim) => {
    const { calls } = await stats(sim);
    return sdk.operations.reduce((sum, operation) => sum + (calls[operation] ?? 0), 0);
  };

  test('every form of the base URL', async () => {
    for (const form of sdk.forms) {
      for (const c of [connect(at.proxy + form), connect(`${at.proxy}${form}/`)]) {
        const answer = await same({ ...clients, through: c }, (client) => sdk.ask(client, { model: sdk.model, content: hello }));
        assert.ok(sdk.textOf(answer).length > 10);
      }
      process.env[sdk.variable] = at.proxy + form;
      const fromEnvironment = connect(undefined);
      delete process.env[sdk.variable];
      await same({ ...clients, through: fromEnvironment }, (client) => sdk.ask(client, { model: sdk.model, content: hello }));
    }
  });

  test('answers and streams', async () => {
    const request = { model: `${sdk.model}@sim:tokens=40`, content: hello };
    const answer = await same(clients, (c) => sdk.ask(c, request));
    for (const chunk of [1, 7]) {
      const events = await same(clients, (c) => collect(sdk.stream(c, { ...request, model: `${request.model},chunk=${chunk}` })));
      assert.equal(sdk.spoken(events), sdk.textOf(answer));
      assert.ok(sdk.textOf(answer).length > 40);
    }
  });

  test('answers and streams that are compressed, chunked, dripping or oddly framed', async () => {
    for (const fault of ['gzip', 'deflate', 'chunked', 'drip', 'gzip+drip', 'http10', 'odd-case', 'duplicate-headers', 'interim-103']) {
      const answer = await same(clients, (c) => sdk.ask(c, told(`tokens=9,interval=1us,fault=${fault}`)));
      assert.ok(sdk.textOf(answer).length > 10, fault);
    }
    for (const fault of ['drip', 'http10', 'crlf', ...sdk.compresses ? ['gzip', 'deflate', 'gzip+drip'] : [], ...sdk.commented]) {
      const events = await same(clients, (c) => collect(sdk.stream(c, told(`tokens=9,interval=1us,fault=${fault}`))));
      assert.ok(sdk.spoken(events).length > 10, fault);
    }
  });

  test('many streams at a time keep to themselves', async () => {
    const ask = (c, n) => collect(sdk.stream(c, { model: `${sdk.model}@sim:tpot=1ms,tokens=${20 + n}`, content: `${n} ${hello}` }));
    const all = (c) => Promise.all(Array.from({ length: 40 }, (_, n) => ask(c, n)));
    const [direct, around] = [await all(clients.direct.client), await all(through)];
    assert.deepEqual(around.map(sdk.spoken), direct.map(sdk.spoken));
    assert.equal(new Set(around.map(sdk.spoken)).size, 40);
  });

  test('pictures in, up to the limit', async () => {
    for (const bytes of [100, replayLimit / 2, 3 * replayLimit]) { // the last in base64: beyond what is kept for replay
      const content = { text: 'What is this?', image: picture(bytes) };
      assert.ok(sdk.textOf(await same(clients, (c) => sdk.ask(c, { model: sdk.model, content }))).length > 10);
      await same(clients, (c) => collect(sdk.stream(c, { model: sdk.model, content })));
    }
  });

  test('the provider sees the request of the SDK', async () => {
    const seen = async (c) => {
      c.wire.bodies = true;
      c.wire.take();
      await sdk.ask(c.client, { model: sdk.model, content: hello });
      const [{ body }] = c.wire.take();
      const { method, target, headers, body_base64: sent } = JSON.parse(body);
      const own = /^(host|connection|content-length)$/i; // of one connection
      return { method, target, headers: headers.filter(([name]) => !own.test(name)), sent };
    };
    const echoing = pair({ headers: { 'x-sim-echo': 'true' } });
    const [direct, around] = [await seen(echoing.direct), await seen(echoing.through)];
    assert.deepEqual(around, direct);
    assert.ok(direct.headers.length > 5 && direct.sent.length > 50);
    sdk.request(direct.target, new Headers(direct.headers));
  });

  test('errors of the provider', async () => {
    for (const [status, type] of Object.entries(sdk.errors)) {
      for (const call of [sdk.ask, sdk.stream]) {
        const e = await raised(() => same(clients, (c) => call(c, told(`fault=${status}`))));
        assert.equal(e.constructor, type, String(e));
        assert.equal(e.status, Number(status));
      }
    }
    const e = await raised(() => same(pair({ key: 'bad' }), (c) => sdk.ask(c, { model: sdk.model, content: hello })));
    assert.equal(e.constructor, sdk.errors[401] ?? sdk.errors[400]);
  });

  test('an error event in the stream', async () => {
    const events = [];
    const e = await raised(() => same(clients, async (c) => {
      events.length = 0;
      for await (const event of await sdk.stream(c, told('tokens=30,tpot=2ms,fault=error-event,after=12'))) events.push(event);
    }));
    assert.ok(e instanceof sdk.failure, String(e));
    assert.ok(sdk.spoken(events).length > 5);
  });

  test('retries of the SDK itself', async () => {
    const trying = pair({ retries: 2 });
    for (const fault of sdk.retried) {
      for (const sim of [at.direct, at.behind]) await script(sim, `2*fault=${fault},retry-after=5ms`);
      const before = [await callsTo(at.direct), await callsTo(at.behind)];
      const answers = [];
      for (const c of [trying.direct, trying.through]) answers.push(await sdk.ask(c.client, { model: sdk.model, content: hello }));
      assert.equal(sdk.textOf(answers[1]), sdk.textOf(answers[0]));
      assert.deepEqual([await callsTo(at.direct), await callsTo(at.behind)], before.map((n) => n + 3), fault);
    }
  });

  const fails = async (call, status, code) => {
    const e = await raised(call);
    assert.equal(e.constructor, sdk.gateway[status], String(e));
    assert.equal(e.status, status);
    assert.equal(sdk.codeOf(e), code);
    assert.doesNotMatch(e.message, /127\.0\.0\.1|dial|refused|EOF/);
  };

  test('errors of the gateway are typed', async () => {
    for (const call of [sdk.ask, sdk.stream]) {
      const down = connect(`${at.proxy}/down`).client;
      const late = connect(`${at.proxy}/late`).client;
      await fails(() => call(down, { model: sdk.model, content: hello }), 502, 'upstream_unreachable');
      await fails(() => call(late, told('fault=stall-head')), 504, 'upstream_timeout');
      for (const fault of ['reset-head', 'close-head']) await fails(() => call(through, told(`fault=${fault}`)), 502, 'upstream_broken');
      for (const bytes of [maxBody, 3 * maxBody]) {
        await fails(() => call(through, { model: sdk.model, content: { text: hello, image: picture(bytes) } }), 413, 'request_too_large');
      }
    }
  });

  test('a broken stream is an error after all that was said', async () => {
    for (const fault of ['reset-mid', 'close-mid', 'truncated-chunk', 'bad-chunk', 'no-end']) {
      const events = [];
      const e = await raised(async () => {
        for await (const event of await sdk.stream(through, told(`tokens=30,tpot=2ms,fault=${fault},after=12`))) events.push(event);
      });
      if (fault === 'truncated-chunk') continue; // cut in the middle of an event, which is what the SDK complains of
      if (sdk.lags && e.message === 'terminated') continue;
      assert.ok(e instanceof sdk.failure, `${fault}: ${e}`);
      assert.match(sdk.codeOf(e), fault === 'no-end' ? /^upstream_incomplete$/ : /^upstream_broken$/, fault);
      assert.ok(sdk.spoken(events).length > 5, fault);
    }
  });

  test('a broken answer is an error', async () => {
    for (const fault of ['reset-mid', 'length-long']) await raised(() => sdk.ask(through, told(`fault=${fault}`)));
  });

  // stops aborts a call that the provider has got and waits until the provider knows.
  const stops = async (sim, call, abort, waiting) => {
    const [before, calls] = [await stats(sim), await callsTo(sim)];
    const ended = call().then(() => undefined, (e) => e);
    await eventually('the provider has the request', 5000, async () => await callsTo(sim) > calls);
    await abort();
    await eventually('the provider sees the cancel', 1000, async () => (await stats(sim)).canceled > before.canceled);
    assert.equal((await stats(sim)).canceled_waiting - before.canceled_waiting, waiting);
    return ended;
  };
  const both = [[at.direct, clients.direct.client], [at.behind, through]];

  test('abort before the first byte', async () => {
    for (const call of [sdk.ask, sdk.stream]) {
      for (const [sim, client] of both) {
        const controller = new AbortController();
        const e = await stops(sim, () => call(client, { ...told('ttft=60s'), signal: controller.signal }), () => controller.abort(), 1);
        assert.ok(sdk.aborted(e), String(e));
      }
    }
  });

  test('abort in mid-stream', async () => {
    const ends = [];
    for (const [sim, client] of both) {
      const controller = new AbortController();
      let heard;
      const some = new Promise((resolve) => { heard = resolve; });
      const e = await stops(sim, async () => {
        const events = [];
        for await (const event of await sdk.stream(client, { ...told('tokens=3000,tpot=20ms'), signal: controller.signal })) {
          events.push(event);
          if (sdk.spoken(events).length > 10) heard();
        }
      }, async () => { await some; controller.abort(); }, 0);
      ends.push(e?.constructor.name);
    }
    assert.equal(ends[1], ends[0]); // some raise, some end quietly
  });

  test('abort in the middle of a plain answer', async () => {
    for (const [sim, client] of both) {
      const controller = new AbortController();
      const before = await stats(sim);
      const e = await stops(sim, () => sdk.ask(client, { ...told('fault=stall-mid'), signal: controller.signal }), async () => {
        await eventually('half of the answer is out', 5000, async () => (await stats(sim)).faults['stall-mid'] > (before.faults['stall-mid'] ?? 0));
        controller.abort();
      }, 0);
      assert.ok(sdk.aborted(e) || e?.name === 'AbortError', String(e)); // fetch's own, when the body is being read
    }
  });

  test('leaving the loop', { skip: !sdk.leaves && 'this SDK does not cancel a stream whose loop is left' }, async () => {
    const before = await stats(at.behind);
    for await (const event of await sdk.stream(through, told('tokens=3000,tpot=20ms'))) {
      assert.ok(event);
      break;
    }
    await eventually('the provider sees the cancel', 1000, async () => (await stats(at.behind)).canceled > before.canceled);
  });

  test("the SDK's own timeout", async () => {
    const before = await stats(at.behind);
    const c = connect(`${at.proxy}/${sdk.dialect}`, { timeout: 200 });
    const e = await raised(() => sdk.ask(c.client, told('ttft=60s')));
    assert.ok(sdk.timedOut(e), String(e));
    await eventually('the provider sees the cancel', 1000, async () => (await stats(at.behind)).canceled > before.canceled);
  });

  more(context);

  test('nothing is left behind', () => settled(at));
}
