// The Google SDK: generate content.
import { ApiError, GoogleGenAI } from '@google/genai';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { collect, same } from './compare.mjs';
import { contract } from './contract.mjs';

const parts = ({ text, image }) => [{ role: 'user', parts: [{ text }, { inlineData: { mimeType: 'image/png', data: image } }] }];
const body = ({ model, content, signal }) => ({
  model, contents: typeof content === 'string' ? content : parts(content), config: { abortSignal: signal },
});

// Codes of the gateway are the reason in the details of the status, which this SDK gives as JSON in the message.
const reasonIn = (message) => JSON.parse(message.slice(message.indexOf('{'))).error.details[0].reason.toLowerCase();

await contract({
  dialect: 'gemini',
  version: '',
  forms: ['/gemini', ''],
  variable: 'GOOGLE_GEMINI_BASE_URL',
  client: (baseUrl, { fetch, key, retries, timeout, headers, apiVersion }) => new GoogleGenAI({
    apiKey: key,
    apiVersion,
    httpOptions: { ...baseUrl && { baseUrl }, fetch, timeout, headers, ...retries && { retryOptions: { attempts: retries + 1, initialDelay: 0.01 } } },
  }),
  model: 'gemini-2.5-flash',
  compresses: true,
  operations: ['generate_content', 'stream_generate_content'],
  ask: (c, request) => c.models.generateContent(body(request)),
  stream: (c, request) => c.models.generateContentStream(body(request)),
  textOf: (answer) => answer.text,
  spoken: (events) => events.map((e) => e.text ?? '').join(''),
  request(target, headers) {
    assert.equal(target, '/v1/models/gemini-2.5-flash:generateContent');
    assert.equal(headers.get('x-goog-api-key'), 'key');
  },
  errors: { 400: ApiError, 403: ApiError, 404: ApiError, 409: ApiError, 429: ApiError, 500: ApiError, 503: ApiError },
  gateway: { 413: ApiError, 502: ApiError, 504: ApiError },
  failure: ApiError,
  codeOf: (e) => reasonIn(e.message),
  commented: ['comments', 'comments+gzip'],
  retried: ['429', '503'], // it gives up when a connection breaks
  lags: true,
  leaves: false,
  aborted: (e) => e.name === 'AbortError',
  timedOut: (e) => e.name === 'AbortError',
}, ({ at, clients, connect, pair, sdk }) => {
  const model = 'gemini-2.5-pro';
  const contents = 'weather?';

  test('either version of the API, named by the gateway or told from the path', async () => {
    for (const apiVersion of ['v1', 'v1beta']) {
      for (const form of sdk.forms) {
        await same({ ...pair({ apiVersion }), through: connect(at.proxy + form, { apiVersion }) }, (c) => c.models.generateContent({ model, contents }));
      }
    }
  });

  test('thoughts', async () => {
    const request = { model, contents, config: { thinkingConfig: { includeThoughts: true } } };
    const answer = await same(clients, (c) => c.models.generateContent(request));
    assert.ok(answer.usageMetadata.thoughtsTokenCount > 0 && answer.candidates[0].content.parts[0].thought);
    const chunks = await same(clients, (c) => collect(c.models.generateContentStream(request)));
    assert.equal(chunks.at(-1).usageMetadata.thoughtsTokenCount, answer.usageMetadata.thoughtsTokenCount);
  });

  test('tools, there and back', async () => {
    const functionDeclarations = [{ name: 'weather', parametersJsonSchema: { type: 'object', properties: { city: { type: 'string' } } } }];
    const config = { tools: [{ functionDeclarations }] };
    const answer = await same(clients, (c) => c.models.generateContent({ model: `${model}@sim:calls=2`, contents, config }));
    assert.equal(answer.functionCalls.length, 2);
    const chunks = await same(clients, (c) => collect(c.models.generateContentStream({ model: `${model}@sim:calls=2`, contents, config })));
    assert.deepEqual(chunks.flatMap((chunk) => chunk.functionCalls ?? []).map((call) => call.args), answer.functionCalls.map((call) => call.args));
    const results = answer.functionCalls.map(({ name }) => ({ functionResponse: { name, response: { sky: 'blue' } } }));
    const told = await same(clients, (c) => c.models.generateContent({
      model, config, contents: [{ role: 'user', parts: [{ text: contents }] }, answer.candidates[0].content, { role: 'user', parts: results }],
    }));
    assert.ok(told.text.length > 10);
  });

  test('a chat', async () => {
    const said = await same(clients, async (c) => {
      const chat = c.chats.create({ model });
      await chat.sendMessage({ message: 'hello' });
      await collect(chat.sendMessageStream({ message: 'and again' }));
      return chat.getHistory();
    });
    assert.ok(said.length >= 4);
  });

  test('counts, embeddings, models', async () => {
    assert.ok((await same(clients, (c) => c.models.countTokens({ model, contents }))).totalTokens > 0);
    const { embeddings } = await same(clients, (c) => c.models.embedContent({ model: 'gemini-embedding-001', contents: ['a', 'b'] }));
    assert.ok(embeddings.length === 2 && embeddings[1].values.length > 100);
    assert.ok((await same(clients, async (c) => (await c.models.list()).page)).length > 1);
    await same(clients, (c) => c.models.get({ model: 'gemini-2.5-flash' }));
  });
});
