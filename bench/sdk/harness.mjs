// Starts the simulator and the gateway as child processes, for tests that ask both the same.
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import assert from 'node:assert/strict';

const binary = fileURLToPath(new URL('../../bin/llmopt', import.meta.url));

// start runs a command of llmopt and returns its first line, parsed, and a function that ends it.
function start(args, env = {}) {
  const child = spawn(binary, args, { env: { PATH: process.env.PATH, ...env }, stdio: ['ignore', 'pipe', 'ignore'] });
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`llmopt ${args[0]} ended with ${code}`)));
    createInterface({ input: child.stdout }).once('line', (line) => {
      child.removeAllListeners('exit');
      const gone = new Promise((done) => child.once('exit', done));
      resolve([JSON.parse(line), async () => { child.kill(); await gone; }]);
    });
  });
}

// stage runs a simulator and a gateway in front of it until the test file is over.
export async function stage(after, env = {}) {
  const [{ sim }, stopSim] = await start(['sim', '--listen', '127.0.0.1:0', '--directives', 'ids=stable']);
  const [{ proxy, admin }, stopProxy] = await start(['serve'], {
    OPTIMIZER_SERVER__LISTEN: '127.0.0.1:0',
    OPTIMIZER_ADMIN__LISTEN: '127.0.0.1:0',
    OPTIMIZER_LOG__ACCESS: 'off',
    OPTIMIZER_PROVIDERS__OPENAI__BASE_URL: `${sim}/v1`,
    OPTIMIZER_PROVIDERS__ANTHROPIC__BASE_URL: sim,
    OPTIMIZER_PROVIDERS__GEMINI__BASE_URL: sim,
    ...env,
  });
  after(async () => { await stopProxy(); await stopSim(); });
  return { sim, proxy, admin, stopSim };
}

export const stats = async (sim) => (await fetch(`${sim}/sim/stats`)).json();

// eventually waits until the condition holds.
export async function eventually(what, within, holds) {
  for (const end = Date.now() + within; Date.now() < end; await new Promise((r) => setTimeout(r, 10))) {
    if (await holds()) return;
  }
  assert.fail(`after ${within} ms still not: ${what}`);
}

// plain takes what differs from call to call out of an answer.
export function plain(value) {
  return JSON.parse(JSON.stringify(value, (key, v) => (['created', 'created_at', 'completed_at', 'createTime', 'sdkHttpResponse', '_request_id', 'obfuscation'].includes(key) ? undefined : v)));
}

// same asks directly and through the gateway and compares what comes back.
export async function same(clients, ask) {
  const [direct, through] = [plain(await ask(clients.direct)), plain(await ask(clients.through))];
  assert.deepEqual(through, direct);
  return through;
}

// error asks and returns what the SDK raises.
export async function error(ask) {
  try {
    await ask();
  } catch (e) {
    return e;
  }
  return assert.fail('no error was raised');
}

// sameError compares the errors that the SDK raises directly and through the gateway.
export async function sameError(clients, ask, describe) {
  const direct = describe(await error(() => ask(clients.direct)));
  assert.deepEqual(describe(await error(() => ask(clients.through))), direct);
  return direct;
}

export async function collect(stream) {
  const all = [];
  for await (const event of stream) all.push(event);
  return all;
}

// A picture of one pixel.
export const pixel = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';
