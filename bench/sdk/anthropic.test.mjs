// The Anthropic SDK: messages.
import Anthropic from '@anthropic-ai/sdk';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { collect, raised, same } from './compare.mjs';
import { contract } from './contract.mjs';

const parts = ({ text, image }) => [
  { type: 'image', source: { type: 'base64', media_type: 'image/png', data: image } }, { type: 'text', text },
];
const body = ({ model, content }) => ({
  model, max_tokens: 4096, messages: [{ role: 'user', content: typeof content === 'string' ? content : parts(content) }],
});

await contract({
  dialect: 'anthropic',
  version: '',
  forms: ['/anthropic', ''],
  variable: 'ANTHROPIC_BASE_URL',
  client: (baseURL, { fetch, key, token, retries, timeout, headers }) =>
    new Anthropic({ baseURL, apiKey: key, authToken: token, maxRetries: retries, timeout, fetch, defaultHeaders: headers }),
  model: 'claude-haiku-4-5',
  compresses: true,
  operations: ['messages'],
  ask: (c, request) => c.messages.create(body(request), { signal: request.signal }),
  stream: (c, request) => c.messages.create({ ...body(request), stream: true }, { signal: request.signal }),
  textOf: (answer) => answer.content[0].text,
  spoken: (events) => events.map((e) => e.delta?.text ?? '').join(''),
  request(target, headers) {
    assert.equal(target, '/v1/messages');
    assert.equal(headers.get('authorization'), 'Bearer key');
    assert.equal(headers.get('x-api-key'), null);
    assert.ok(headers.get('anthropic-version') > '2023-06-01');
  },
  errors: {
    400: Anthropic.BadRequestError,
    401: Anthropic.AuthenticationError,
    403: Anthropic.PermissionDeniedError,
    404: Anthropic.NotFoundError,
    409: Anthropic.ConflictError,
    413: Anthropic.ContentTooLargeError,
    422: Anthropic.UnprocessableEntityError,
    429: Anthropic.RateLimitError,
    500: Anthropic.InternalServerError,
    529: Anthropic.OverloadedError,
  },
  gateway: { 413: Anthropic.ContentTooLargeError, 502: Anthropic.InternalServerError, 504: Anthropic.GatewayTimeoutError },
  failure: Anthropic.APIError,
  codeOf: (e) => e.error.error.code,
  commented: ['comments', 'comments+gzip'],
  retried: ['429', '503', '529', 'reset-head'],
  lags: false,
  leaves: true,
  aborted: (e) => e instanceof Anthropic.APIUserAbortError,
  timedOut: (e) => e instanceof Anthropic.APIConnectionTimeoutError,
}, ({ at, clients, connect, pair }) => {
  const messages = [{ role: 'user', content: 'weather?' }];

  test('credentials of either kind, old and new', async () => {
    for (const credential of [{ key: null, token: 'key' }, { key: null, headers: { 'x-api-key': 'key', 'anthropic-version': '2023-06-01' } }]) {
      await same(pair(credential), (c) => c.messages.create({ model: 'claude-haiku-4-5', max_tokens: 10, messages }));
      await same({ ...pair(credential), through: connect(at.proxy, credential) }, (c) => c.messages.create({ model: 'claude-haiku-4-5', max_tokens: 10, messages }));
    }
  });

  test('thinking, streamed and helped', async () => {
    const request = { model: 'claude-opus-4-5', max_tokens: 4096, thinking: { type: 'enabled', budget_tokens: 1024 }, messages };
    const answer = await same(clients, (c) => c.messages.create(request));
    const final = await same(clients, (c) => c.messages.stream(request).finalMessage());
    assert.ok(answer.content[0].thinking.length > 10);
    assert.deepEqual(final.content, answer.content);
    await same(clients, (c) => collect(c.messages.create({ ...request, stream: true })));
  });

  test('tools, there and back', async () => {
    const tools = [{ name: 'weather', input_schema: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] } }];
    const request = { model: 'claude-haiku-4-5@sim:calls=2', max_tokens: 4096, tools, messages };
    const { content } = await same(clients, (c) => c.messages.create(request));
    assert.equal(content.filter((block) => block.type === 'tool_use').length, 2);
    const final = await same(clients, (c) => c.messages.stream(request).finalMessage());
    assert.deepEqual(final.content.map((block) => block.input), content.map((block) => block.input));
    const results = content.map(({ id }) => ({ type: 'tool_result', tool_use_id: id, content: 'sunny' }));
    const told = await same(clients, (c) => c.messages.create({
      ...request, messages: [...messages, { role: 'assistant', content }, { role: 'user', content: results }],
    }));
    assert.ok(told.content[0].text.length > 10);
  });

  test('a prompt with cache control is written and read', async () => {
    const system = [{ type: 'text', text: 'be kind '.repeat(1000), cache_control: { type: 'ephemeral', ttl: '1h' } }];
    const ask = () => same(clients, (c) => c.messages.stream({ model: 'claude-haiku-4-5', max_tokens: 10, system, messages }).finalMessage());
    const [first, second] = [(await ask()).usage, (await ask()).usage];
    assert.ok(first.cache_creation.ephemeral_1h_input_tokens > 1000);
    assert.equal(second.cache_read_input_tokens, first.cache_creation_input_tokens);
  });

  test('a helper tells that a broken stream is broken', async () => {
    for (const fault of ['error-event', 'reset-mid', 'no-end']) {
      const e = await raised(() => clients.through.client.messages.stream({ model: `claude-haiku-4-5@sim:fault=${fault}`, max_tokens: 50, messages }).finalMessage());
      assert.ok(e instanceof Anthropic.APIError, `${fault}: ${e}`);
      assert.equal(e.type, fault === 'error-event' ? 'overloaded_error' : 'api_error');
    }
  });

  test('counts, models, and an endpoint that nobody knows', async () => {
    assert.ok((await same(clients, (c) => c.messages.countTokens({ model: 'claude-haiku-4-5', messages }))).input_tokens > 0);
    assert.ok((await same(clients, async (c) => (await c.models.list()).data)).length > 1);
    await same(clients, (c) => c.models.retrieve('claude-haiku-4-5'));
    const echo = await same(clients, async (c) => (await c.post('/v1/new/things?a=b%2Fc', { body: { x: 1 }, headers: { 'x-sim-echo': 'true' } })).target, { heads: false });
    assert.equal(echo, '/v1/new/things?a=b%2Fc');
  });
});
