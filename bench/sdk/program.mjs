// A program as somebody writes it with the official SDKs: node program.mjs URL. It prints what it was told, as JSON.
import Anthropic from '@anthropic-ai/sdk';
import { GoogleGenAI } from '@google/genai';
import OpenAI from 'openai';

const [, , url] = process.argv;
const openai = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'key', maxRetries: 0 });
const anthropic = new Anthropic({ baseURL: url, apiKey: 'key', maxRetries: 0 });
const gemini = new GoogleGenAI({ apiKey: 'key', httpOptions: { baseUrl: url } });

async function collect(events) {
  const all = [];
  for await (const event of await events) all.push(event);
  return all;
}

const chat = (content) => ({ model: 'gpt-4o-mini', temperature: 0, messages: [{ role: 'user', content }] });
const message = (content) => ({ model: 'claude-sonnet-4-5', max_tokens: 100, temperature: 0, messages: [{ role: 'user', content }] });
const respond = (input) => ({ model: 'gpt-4o-mini', temperature: 0, store: false, input });
const generate = (contents) => ({ model: 'gemini-2.5-flash', contents, config: { temperature: 0 } });

console.log(JSON.stringify([
  await openai.chat.completions.create(chat('plain')),
  await collect(openai.chat.completions.create({ ...chat('streamed'), stream: true })),
  await openai.responses.create(respond('plain')),
  await collect(openai.responses.create({ ...respond('streamed'), stream: true })),
  await openai.embeddings.create({ model: 'text-embedding-3-small', input: 'embedded' }),
  await anthropic.messages.create(message('plain')),
  await anthropic.messages.stream(message('streamed')).finalMessage(),
  await gemini.models.generateContent(generate('plain')),
  await collect(gemini.models.generateContentStream(generate('streamed'))),
], (key, value) => key === 'sdkHttpResponse' ? undefined : value)); // heads of answers differ
