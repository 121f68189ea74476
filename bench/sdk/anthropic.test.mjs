import { after, test } from 'node:test';
import assert from 'node:assert/strict';
import Anthropic from '@anthropic-ai/sdk';
import { collect, error, eventually, pixel, same, sameError, stage, stats } from './harness.mjs';

const { sim, proxy } = await stage(after);
const client = (baseURL, more = { apiKey: 'k' }) => new Anthropic({ baseURL, maxRetries: 0, ...more });
const clients = { direct: client(sim), through: client(`${proxy}/anthropic`) };
const model = 'claude-haiku-4-5';
const max_tokens = 200;
const messages = [{ role: 'user', content: 'Say something short, please.' }];
const tools = [{ name: 'weather', description: 'of a city', input_schema: { type: 'object', properties: { city: { type: 'string' } } } }];
const describe = (e) => ({ name: e.constructor.name, status: e.status, type: e.type, message: e.message.replace(/req_\w+/g, 'req') });

test('base URLs of either form, either credential', async () => {
  for (const base of [`${proxy}/anthropic`, proxy]) {
    for (const credential of [{ apiKey: 'k' }, { apiKey: null, authToken: 'k' }]) {
      assert.equal((await client(base, credential).messages.create({ model, max_tokens, messages })).type, 'message');
    }
  }
});
test('messages', () => same(clients, (c) => c.messages.create({ model, max_tokens, messages })));
test('stream', async () => {
  await same(clients, async (c) => collect(await c.messages.create({ model, max_tokens, messages, stream: true })));
  await same(clients, (c) => c.messages.stream({ model, max_tokens, messages }).finalMessage());
});
test('thinking', () => same(clients, async (c) => collect(await c.messages.create({ model, max_tokens: 3000, thinking: { type: 'enabled', budget_tokens: 1024 }, messages, stream: true }))));
test('tools', async () => {
  await same(clients, (c) => c.messages.create({ model, max_tokens, messages, tools, tool_choice: { type: 'any' } }));
  await same(clients, async (c) => collect(await c.messages.create({ model, max_tokens, messages, tools, tool_choice: { type: 'any' }, stream: true })));
});
test('images in, count_tokens', async () => {
  const seen = [{ role: 'user', content: [{ type: 'image', source: { type: 'base64', media_type: 'image/png', data: pixel } }, { type: 'text', text: 'what is this?' }] }];
  await same(clients, (c) => c.messages.create({ model, max_tokens, messages: seen }));
  await same(clients, (c) => c.messages.countTokens({ model, messages: seen }));
});
test('errors of the provider', async () => {
  for (const fault of ['400', '401', '403', '404', '413', '429', '500', '529']) {
    const e = await sameError(clients, (c) => c.messages.create({ model: `${model}@sim:fault=${fault}`, max_tokens, messages }), describe);
    assert.equal(e.status, Number(fault));
  }
});
test('error event inside the stream', () => sameError(clients, async (c) => collect(await c.messages.create({ model: `${model}@sim:fault=error-event,after=3`, max_tokens, messages, stream: true })), describe));
test('errors of the gateway are typed', async () => {
  const reset = await error(() => clients.through.messages.create({ model: `${model}@sim:fault=reset-head`, max_tokens, messages }));
  assert.ok(reset instanceof Anthropic.InternalServerError, String(reset));
  assert.equal(reset.status, 502);
  assert.equal(reset.error.error.type, 'api_error');
  assert.ok(await error(async () => collect(await clients.through.messages.create({ model: `${model}@sim:fault=reset-mid,after=3`, max_tokens, messages, stream: true }))));
});
test('abort in mid-stream', async () => {
  const before = await stats(sim);
  const stream = await clients.through.messages.create({ model: `${model}@sim:tokens=500,tpot=20ms`, max_tokens: 1000, messages, stream: true });
  for await (const event of stream) {
    assert.ok(event.type);
    stream.controller.abort();
  }
  await eventually('the provider sees the cancel', 1000, async () => (await stats(sim)).canceled === before.canceled + 1);
});
