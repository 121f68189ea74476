// A caller over its limit: the SDKs raise the error that they have for it, and one that retries comes when it was told to.
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import Anthropic from '@anthropic-ai/sdk';
import OpenAI from 'openai';
import { run, simulator, stats } from './harness.mjs';

const dir = await mkdtemp(join(tmpdir(), 'llmopt-limits-'));
const sim = await simulator();
after(async () => {
  await sim.stop();
  await rm(dir, { recursive: true, force: true });
});

// Of each SDK one caller that is over its limit for a minute, and one that is for two seconds.
const limits = ['openai', 'anthropic'].map((sdk) => `
[callers.${sdk}_slow]
header = { "x-team" = "${sdk}-slow" }
[callers.${sdk}_soon]
header = { "x-team" = "${sdk}-soon" }
[[limits]]
caller = "${sdk}_slow"
requests_per_minute = 1
[[limits]]
caller = "${sdk}_soon"
requests_per_minute = 30
burst = 1
`).join('');
const file = join(dir, 'llmopt.toml');
await writeFile(file, `[admission]\nmax_wait = "0s"\n${limits}`);
const gateway = await run(['serve', '--config', file], {
  OPTIMIZER_SERVER__LISTEN: '127.0.0.1:0',
  OPTIMIZER_ADMIN__LISTEN: '127.0.0.1:0',
  OPTIMIZER_LOG__ACCESS: 'off',
  OPTIMIZER_STORAGE__DIR: '',
  OPTIMIZER_PROVIDERS__OPENAI__BASE_URL: `${sim.sim}/v1`,
  OPTIMIZER_PROVIDERS__ANTHROPIC__BASE_URL: sim.sim,
});
after(async () => {
  const { status, log } = await gateway.stop();
  assert.equal(status, 0, log);
});

const messages = [{ role: 'user', content: 'hello' }];
const sdks = [{
  name: 'openai',
  refusal: OpenAI.RateLimitError,
  client: (options) => new OpenAI({ baseURL: `${gateway.proxy}/v1`, apiKey: 'key', ...options }),
  ask: (c) => c.chat.completions.create({ model: 'gpt-4o-mini', messages }),
  refused: (e) => assert.deepEqual([e.code, e.type], ['rate_limit_exceeded', 'rate_limit_error']),
}, {
  name: 'anthropic',
  refusal: Anthropic.RateLimitError,
  client: (options) => new Anthropic({ baseURL: gateway.proxy, apiKey: 'key', ...options }),
  ask: (c) => c.messages.create({ model: 'claude-sonnet-4-5', max_tokens: 100, messages }),
  refused: (e) => assert.equal(e.error.error.type, 'rate_limit_error'),
}];
const calls = async () => Object.values((await stats(sim.sim)).calls).reduce((all, n) => all + n, 0);

for (const { name, refusal, client, ask, refused } of sdks) {
  test(`${name}: a caller over its limit gets a RateLimitError, which says when to come again`, async () => {
    const before = await calls();
    const limited = client({ maxRetries: 0, defaultHeaders: { 'x-team': `${name}-slow` } });
    await ask(limited);
    await assert.rejects(ask(limited), (e) => {
      assert.ok(e instanceof refusal, `${e.constructor.name}: ${e.message}`);
      assert.equal(e.status, 429);
      const wait = Number(e.headers.get('retry-after'));
      assert.ok(wait > 0 && wait <= 60, `retry-after: ${e.headers.get('retry-after')}`);
      assert.match(e.message, /The limit of 1 request per minute for the caller .*_slow is used up\. Try again in /);
      refused(e);
      return true;
    });
    assert.equal(await calls() - before, 1); // what was refused costs nothing at the provider
    await ask(client({ maxRetries: 0 })); // nobody else's matter
  });

  test(`${name}: one retry comes when retry-after says, and is answered`, async () => {
    const before = await calls();
    const seen = [];
    const limited = client({
      maxRetries: 1,
      defaultHeaders: { 'x-team': `${name}-soon` },
      fetch: async (...request) => {
        const at = performance.now();
        const answer = await fetch(...request);
        // What the SDKs go by: milliseconds where there are any, of which Retry-After is the rounding up.
        seen.push({ at, status: answer.status, wait: Number(answer.headers.get('retry-after-ms')), seconds: Number(answer.headers.get('retry-after')) });
        return answer;
      },
    });
    await ask(limited);
    await setTimeout(100); // a part of the two seconds is over when the limit refuses
    await ask(limited);
    assert.deepEqual(seen.map(({ status }) => status), [200, 429, 200]);
    const [, told, came] = seen;
    assert.ok(told.wait > 0 && told.wait <= 1900, `told to wait ${told.wait} ms`);
    assert.equal(told.seconds, Math.ceil(told.wait / 1000));
    const waited = came.at - told.at;
    assert.ok(waited >= told.wait - 1, `told to wait ${told.wait} ms, came after ${waited}`); // timers of Node may be early by a part of a millisecond
    assert.equal(await calls() - before, 2);
  });
}
