// The OpenAI SDK: responses.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import OpenAI from 'openai';
import { collect, raised, same } from './compare.mjs';
import { contract } from './contract.mjs';
import { openai } from './openai.mjs';

const parts = ({ text, image }) => [{
  role: 'user', content: [{ type: 'input_text', text }, { type: 'input_image', detail: 'auto', image_url: `data:image/png;base64,${image}` }],
}];
const body = ({ model, content }) => ({ model, input: typeof content === 'string' ? content : parts(content) });

await contract({
  ...openai,
  model: 'gpt-4o',
  compresses: true,
  operations: ['responses'],
  ask: (c, request) => c.responses.create(body(request), { signal: request.signal }),
  stream: (c, request) => c.responses.create({ ...body(request), stream: true }, { signal: request.signal }),
  textOf: (answer) => answer.output_text,
  spoken: (events) => events.map((e) => (e.type === 'response.output_text.delta' ? e.delta : '')).join(''),
  request(target, headers) {
    assert.equal(target, '/v1/responses');
    assert.equal(headers.get('authorization'), 'Bearer key');
  },
}, ({ clients }) => {
  test('reasoning, streamed and helped', async () => {
    const request = { model: 'gpt-5', input: 'think', reasoning: { effort: 'low', summary: 'auto' } };
    const answer = await same(clients, (c) => c.responses.create(request));
    assert.ok(answer.usage.output_tokens_details.reasoning_tokens > 0);
    const events = await same(clients, (c) => collect(c.responses.create({ ...request, stream: true })));
    assert.equal(events.at(-1).type, 'response.completed');
    const final = await same(clients, (c) => c.responses.stream(request).finalResponse());
    assert.equal(final.output_text, answer.output_text);
  });

  test('tools, there and back', async () => {
    const tools = [{ type: 'function', name: 'weather', strict: false, parameters: { type: 'object', properties: { city: { type: 'string' } } } }];
    const input = [{ role: 'user', content: 'weather?' }];
    const { output } = await same(clients, (c) => c.responses.create({ model: 'gpt-4o', input, tools }));
    const call = output.find((item) => item.type === 'function_call');
    const final = await same(clients, (c) => c.responses.stream({ model: 'gpt-4o', input, tools }).finalResponse());
    assert.equal(final.output.find((item) => item.type === 'function_call').arguments, call.arguments);
    const result = { type: 'function_call_output', call_id: call.call_id, output: 'sunny' };
    const told = await same(clients, (c) => c.responses.create({ model: 'gpt-4o', tools, input: [...input, ...output, result] }));
    assert.ok(told.output_text.length > 10);
  });

  test('kept, found and deleted', async () => {
    const { id } = await same(clients, (c) => c.responses.create({ model: 'gpt-4o', input: 'keep this', store: true }));
    assert.equal((await same(clients, (c) => c.responses.retrieve(id))).id, id);
    await same(clients, (c) => c.responses.delete(id));
    assert.ok(await raised(() => same(clients, (c) => c.responses.retrieve(id))) instanceof OpenAI.NotFoundError);
  });
});
