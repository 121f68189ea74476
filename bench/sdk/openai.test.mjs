// The OpenAI SDK: chat completions as the contract has it, and the other endpoints.
import assert from 'node:assert/strict';
import { connect as connectTCP } from 'node:net';
import { test } from 'node:test';
import OpenAI, { toFile } from 'openai';
import { OpenAIRealtimeWS } from 'openai/realtime/ws';
import { collect, raised, same } from './compare.mjs';
import { contract } from './contract.mjs';
import { openai } from './openai.mjs';

const parts = ({ text, image }) => [
  { type: 'text', text }, { type: 'image_url', image_url: { url: `data:image/png;base64,${image}` } },
];
const body = ({ model, content }) => ({
  model, messages: [{ role: 'user', content: typeof content === 'string' ? content : parts(content) }],
});

const weather = {
  name: 'weather',
  description: 'of a city',
  parameters: { type: 'object', properties: { city: { type: 'string' }, days: { type: 'integer' } }, required: ['city'] },
};

await contract({
  ...openai,
  model: 'gpt-4o-mini',
  compresses: false,
  operations: ['chat'],
  ask: (c, request) => c.chat.completions.create(body(request), { signal: request.signal }),
  stream: (c, request) => c.chat.completions.create({ ...body(request), stream: true }, { signal: request.signal }),
  textOf: (answer) => answer.choices[0].message.content,
  spoken: (events) => events.map((e) => e.choices[0]?.delta.content ?? '').join(''),
  request(target, headers) {
    assert.equal(target, '/v1/chat/completions');
    assert.equal(headers.get('authorization'), 'Bearer key');
  },
}, ({ at, clients, connect }) => {
  const messages = [{ role: 'user', content: 'weather?' }];

  test('usage in streams only where it was asked for', async () => {
    const streamed = (extra) => same(clients, (c) => collect(c.chat.completions.create({ model: 'gpt-4o', messages, stream: true, ...extra })));
    for (const extra of [{}, { stream_options: {} }, { stream_options: { include_usage: false } }, { stream_options: { include_obfuscation: false } }]) {
      for (const chunk of await streamed(extra)) assert.ok(!('usage' in chunk) && chunk.choices.length === 1);
    }
    const chunks = await streamed({ stream_options: { include_usage: true } });
    assert.ok(chunks.at(-1).usage.total_tokens > 0 && chunks[0].usage === null);
  });

  test('several choices, reasoning, helpers', async () => {
    const two = await same(clients, (c) => c.chat.completions.create({ model: 'gpt-4o', messages, n: 2 }));
    assert.equal(two.choices.length, 2);
    const thought = await same(clients, (c) => c.chat.completions.create({ model: 'o3', messages, reasoning_effort: 'high' }));
    assert.ok(thought.usage.completion_tokens_details.reasoning_tokens > 0);
    const final = await same(clients, (c) => c.chat.completions.stream({ model: 'gpt-4o', messages, n: 2 }).finalChatCompletion());
    assert.equal(final.choices[1].message.content, two.choices[1].message.content);
  });

  test('tools, there and back', async () => {
    const request = { model: 'gpt-4o@sim:calls=2', messages, tools: [{ type: 'function', function: weather }] };
    const asked = await same(clients, (c) => c.chat.completions.create(request));
    const { message } = asked.choices[0];
    assert.equal(message.tool_calls.length, 2);
    const streamed = await same(clients, (c) => c.chat.completions.stream(request).finalChatCompletion());
    assert.deepEqual(streamed.choices[0].message.tool_calls.map((t) => t.function.arguments), message.tool_calls.map((t) => t.function.arguments));
    const results = message.tool_calls.map(({ id }) => ({ role: 'tool', tool_call_id: id, content: 'sunny' }));
    const told = await same(clients, (c) => c.chat.completions.create({ ...request, messages: [...messages, message, ...results] }));
    assert.ok(told.choices[0].message.content.length > 10);
    const ran = await same(clients, (c) => c.chat.completions.runTools({
      model: 'gpt-4o', messages, stream: true, tools: [{ type: 'function', function: { ...weather, parse: JSON.parse, function: ({ city }) => `sunny in ${city}` } }],
    }).finalContent());
    assert.ok(ran.length > 10);
  });

  test('a long prompt is read from the cache the second time', async () => {
    const long = [{ role: 'user', content: 'be kind '.repeat(1000) }];
    for (const cached of [false, true]) {
      const { usage } = await same(clients, (c) => c.chat.completions.create({ model: 'gpt-4o', messages: long }));
      assert.equal(usage.prompt_tokens_details.cached_tokens > 0, cached);
    }
  });

  test('embeddings in both encodings', async () => {
    for (const encoding_format of ['float', 'base64', undefined]) {
      const { data } = await same(clients, (c) => c.embeddings.create({ model: 'text-embedding-3-small', input: ['a', 'b'], dimensions: 64, encoding_format }));
      assert.equal(data.length, 2);
    }
  });

  test('completions, models, moderations, images', async () => {
    const prompt = { model: 'gpt-3.5-turbo-instruct', prompt: 'once' };
    await same(clients, (c) => c.completions.create(prompt));
    assert.ok((await same(clients, (c) => collect(c.completions.create({ ...prompt, stream: true })))).length > 3);
    assert.ok((await same(clients, async (c) => (await c.models.list()).data)).length > 1);
    await same(clients, (c) => c.models.retrieve('gpt-4o'));
    await same(clients, (c) => c.moderations.create({ input: 'violence' }));
    await same(clients, (c) => c.images.generate({ prompt: 'a cat', n: 2 }));
  });

  test('sounds, files and batches', async () => {
    const bytes = async (answer) => Buffer.from(await (await answer).arrayBuffer()).toString('base64');
    const sound = await same(clients, (c) => bytes(c.audio.speech.create({ model: 'tts-1', voice: 'alloy', input: 'hello' })));
    assert.ok(sound.length > 100);
    // The boundary between the parts of a form is random, and the simulator's ids hang on all bytes of a request.
    const forms = { heads: false };
    await same(clients, async (c) => c.audio.transcriptions.create({ model: 'whisper-1', file: await toFile(Buffer.alloc(200_000, 'snd'), 'a.mp3') }), forms);
    await same(clients, async (c) => {
      const { id, ...file } = await c.files.create({ purpose: 'batch', file: await toFile(Buffer.from('{}\n'.repeat(1000)), 'in.jsonl') });
      const content = await bytes(c.files.content(id));
      const batch = await c.batches.create({ input_file_id: id, endpoint: '/v1/chat/completions', completion_window: '24h' });
      const { status } = await c.batches.cancel(batch.id);
      const { deleted } = await c.files.delete(id);
      return { file, content, endpoint: batch.endpoint, status, deleted };
    }, forms);
    assert.ok(await raised(() => same(clients, (c) => c.files.retrieve('file-gone'))) instanceof OpenAI.NotFoundError);
  });

  test('an endpoint that nobody knows', async () => {
    await raised(() => same(clients, (c) => c.post('/new/things?a=b%2Fc', { body: { x: 1 } })));
    const echo = await same(clients, async (c) => (await c.get('/new/..%2Fthings?a=b%2Fc&d=e', { headers: { 'x-sim-echo': 'true' } })).target, { heads: false });
    assert.equal(echo, '/v1/new/..%2Fthings?a=b%2Fc&d=e');
  });

  test('realtime over a WebSocket', async () => {
    const large = { type: 'session.updated', event_id: 'e', text: 'Grüße 👋 '.repeat(50_000) };
    const talk = ({ client }) => new Promise((resolve, reject) => {
      // The SDK insists on wss, whatever the base URL says; its connection is made without TLS here.
      const plainly = { createConnection: ({ host, port }) => connectTCP(port, host) };
      const rt = new OpenAIRealtimeWS({ model: 'gpt-realtime', options: plainly }, client);
      const seen = [];
      rt.on('error', reject);
      rt.on('session.created', (event) => { seen.push(event.session.model); rt.send(large); });
      rt.on('session.updated', (event) => { seen.push(event); rt.close({ code: 1000, reason: 'done' }); });
      rt.socket.on('close', (code) => resolve([...seen, code]));
    });
    for (const c of [clients.direct, clients.through, connect(`${at.proxy}/v1`)]) {
      assert.deepEqual(await talk(c), ['gpt-realtime', large, 1000]);
    }
  });
});
