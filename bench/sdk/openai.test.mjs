import { after, test } from 'node:test';
import assert from 'node:assert/strict';
import OpenAI from 'openai';
import { collect, error, eventually, pixel, same, sameError, stage, stats } from './harness.mjs';

const { sim, proxy } = await stage(after);
const client = (baseURL, more = {}) => new OpenAI({ apiKey: 'k', baseURL, maxRetries: 0, ...more });
const clients = { direct: client(`${sim}/v1`), through: client(`${proxy}/openai`) };
const model = 'gpt-4o-mini';
const messages = [{ role: 'user', content: 'Say something short, please.' }];
const tools = [{ type: 'function', function: { name: 'weather', description: 'of a city', parameters: { type: 'object', properties: { city: { type: 'string' } } } } }];
const describe = (e) => ({ name: e.constructor.name, status: e.status, code: e.code, type: e.type, message: e.message });

test('base URLs of either form', async () => {
  for (const base of [`${proxy}/openai`, `${proxy}/openai/v1`, `${proxy}/v1`]) {
    const answer = await client(base).chat.completions.create({ model, messages });
    assert.equal(answer.object, 'chat.completion');
  }
});
test('chat', () => same(clients, (c) => c.chat.completions.create({ model, messages })));
test('chat stream, without and with usage', async () => {
  const without = await same(clients, async (c) => collect(await c.chat.completions.create({ model, messages, stream: true })));
  assert.ok(without.every((chunk) => !('usage' in chunk)));
  const withUsage = await same(clients, async (c) => collect(await c.chat.completions.create({ model, messages, stream: true, stream_options: { include_usage: true } })));
  assert.ok(withUsage.at(-1).usage.total_tokens > 0);
});
test('tools', async () => {
  await same(clients, (c) => c.chat.completions.create({ model, messages, tools, tool_choice: 'required' }));
  await same(clients, async (c) => collect(await c.chat.completions.create({ model, messages, tools, tool_choice: 'required', stream: true })));
});
test('images in', () => same(clients, (c) => c.chat.completions.create({
  model, messages: [{ role: 'user', content: [{ type: 'text', text: 'what is this?' }, { type: 'image_url', image_url: { url: `data:image/png;base64,${pixel}` } }] }],
})));
test('embeddings', () => same(clients, (c) => c.embeddings.create({ model: 'text-embedding-3-small', input: ['a', 'b'] })));
test('responses, plain and streamed', async () => {
  await same(clients, (c) => c.responses.create({ model, input: 'hello' }));
  await same(clients, async (c) => collect(await c.responses.create({ model, input: 'hello', stream: true })));
});
test('models', () => same(clients, async (c) => (await c.models.list()).data));
test('errors of the provider', async () => {
  for (const fault of ['400', '401', '403', '404', '429', '500', '503']) {
    const e = await sameError(clients, (c) => c.chat.completions.create({ model: `${model}@sim:fault=${fault}`, messages }), describe);
    assert.equal(e.status, Number(fault));
  }
  await sameError({ direct: client(`${sim}/v1`, { apiKey: 'bad' }), through: client(`${proxy}/openai`, { apiKey: 'bad' }) }, (c) => c.models.list(), describe);
});
test('error event inside the stream', () => sameError(clients, async (c) => collect(await c.chat.completions.create({ model: `${model}@sim:fault=error-event,after=3`, messages, stream: true })), describe));
test('errors of the gateway are typed', async () => {
  const reset = await error(() => clients.through.chat.completions.create({ model: `${model}@sim:fault=reset-head`, messages }));
  assert.ok(reset instanceof OpenAI.InternalServerError, String(reset));
  assert.equal(reset.status, 502);
  assert.equal(reset.code, 'upstream_broken');
  const big = await error(() => clients.through.embeddings.create({ model, input: 'x'.repeat(70 << 20) }));
  assert.ok(big instanceof OpenAI.APIError);
  assert.equal(big.status, 413);
  const broken = await error(async () => collect(await clients.through.chat.completions.create({ model: `${model}@sim:fault=reset-mid,after=3`, messages, stream: true })));
  assert.ok(broken, 'a broken stream looked whole');
});
test('abort in mid-stream and before the first byte', async () => {
  const before = await stats(sim);
  const stream = await clients.through.chat.completions.create({ model: `${model}@sim:tokens=500,tpot=20ms`, messages, stream: true });
  for await (const chunk of stream) {
    assert.ok(chunk.id);
    stream.controller.abort();
  }
  await eventually('the provider sees the first cancel', 1000, async () => (await stats(sim)).canceled === before.canceled + 1);
  const controller = new AbortController();
  const waiting = error(() => clients.through.chat.completions.create({ model: `${model}@sim:ttft=30s`, messages }, { signal: controller.signal }));
  await eventually('the request is at the provider', 5000, async () => (await stats(sim)).in_flight > 0);
  controller.abort();
  assert.ok((await waiting) instanceof OpenAI.APIUserAbortError);
  await eventually('the provider sees the second cancel', 1000, async () => (await stats(sim)).canceled === before.canceled + 2);
});
