import { after, test } from 'node:test';
import assert from 'node:assert/strict';
import { ApiError, GoogleGenAI } from '@google/genai';
import { collect, error, eventually, pixel, same, sameError, stage, stats } from './harness.mjs';

const { sim, proxy } = await stage(after);
const client = (baseUrl, more = {}) => new GoogleGenAI({ apiKey: 'k', httpOptions: { baseUrl, ...more } });
const clients = { direct: client(sim), through: client(`${proxy}/gemini`) };
const model = 'gemini-2.5-flash';
const contents = 'Say something short, please.';
const describe = (e) => ({ name: e.constructor.name, status: e.status, message: e.message });

test('base URLs of either form, either version', async () => {
  for (const base of [`${proxy}/gemini`, proxy]) {
    for (const apiVersion of ['v1', 'v1beta']) {
      assert.ok((await client(base, { apiVersion }).models.generateContent({ model, contents })).text);
    }
  }
});
test('generate', () => same(clients, (c) => c.models.generateContent({ model, contents })));
test('stream', () => same(clients, async (c) => collect(await c.models.generateContentStream({ model, contents }))));
test('tools', () => same(clients, (c) => c.models.generateContent({
  model, contents, config: { tools: [{ functionDeclarations: [{ name: 'weather', description: 'of a city' }] }], toolConfig: { functionCallingConfig: { mode: 'ANY' } } },
})));
test('images in', () => same(clients, (c) => c.models.generateContent({ model, contents: [{ role: 'user', parts: [{ inlineData: { mimeType: 'image/png', data: pixel } }, { text: 'what is this?' }] }] })));
test('count and embed', async () => {
  await same(clients, (c) => c.models.countTokens({ model, contents }));
  await same(clients, (c) => c.models.embedContent({ model: 'gemini-embedding-001', contents: ['a', 'b'] }));
});
test('errors of the provider', async () => {
  for (const fault of ['400', '403', '404', '429', '500', '503']) {
    const e = await sameError(clients, (c) => c.models.generateContent({ model: `${model}@sim:fault=${fault}`, contents }), describe);
    assert.equal(e.status, Number(fault));
  }
});
test('error inside the stream', () => sameError(clients, async (c) => collect(await c.models.generateContentStream({ model: `${model}@sim:fault=error-event,after=3`, contents })), describe));
test('errors of the gateway are typed', async () => {
  const reset = await error(() => clients.through.models.generateContent({ model: `${model}@sim:fault=reset-head`, contents }));
  assert.ok(reset instanceof ApiError, String(reset));
  assert.equal(reset.status, 502);
  assert.ok(await error(async () => collect(await clients.through.models.generateContentStream({ model: `${model}@sim:fault=reset-mid,after=3`, contents }))));
});
test('abort in mid-stream', async () => {
  const before = await stats(sim);
  const controller = new AbortController();
  await error(async () => {
    for await (const chunk of await clients.through.models.generateContentStream({ model: `${model}@sim:tokens=500,tpot=20ms`, contents, config: { abortSignal: controller.signal } })) {
      assert.ok(chunk);
      controller.abort();
    }
  });
  await eventually('the provider sees the cancel', 1000, async () => (await stats(sim)).canceled === before.canceled + 1);
});
