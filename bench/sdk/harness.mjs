// Runs simulators and the gateway as child processes, and compares what a client gets directly and through the gateway.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { after } from 'node:test';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

export const binary = fileURLToPath(new URL('../../bin/llmopt', import.meta.url));

// What the SDKs read from the environment is for these tests to say.
for (const name of Object.keys(process.env)) {
  if (/^(OPENAI|ANTHROPIC|GOOGLE|GEMINI)_/.test(name)) delete process.env[name];
}

for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(1)); // which ends the children, too

// run starts a command of llmopt and resolves when it has said where it listens.
export async function run(args, env = {}) {
  const child = spawn(binary, args, { env: { PATH: process.env.PATH, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
  const kill = () => child.kill('SIGKILL');
  process.once('exit', kill);
  let log = '';
  child.stderr.setEncoding('utf8').on('data', (text) => { log += text; });
  const ended = new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => resolve(code ?? signal));
  });
  const said = new Promise((resolve) => { createInterface({ input: child.stdout }).once('line', resolve); });
  const line = await Promise.race([said, ended]);
  if (typeof line !== 'string' || !line.startsWith('{')) throw new Error(`llmopt ${args[0]} ended with ${line}: ${log}`);
  // stop asks the command to end and returns its exit status and what it has logged.
  const stop = async () => {
    child.kill('SIGTERM');
    const status = await ended;
    process.off('exit', kill);
    return { status, log };
  };
  // crash ends it without its having a say.
  const crash = async () => {
    kill();
    await ended;
    process.off('exit', kill);
  };
  return { ...JSON.parse(line), stop, crash };
}

export const simulator = () => run(['sim', '--listen', '127.0.0.1:0', '--directives', 'ids=stable']);

// Limits of the gateway under test, small so that tests can cross them.
export const replayLimit = 1 << 20;
export const maxBody = 8 << 20;

// stage runs two simulators that say the same, one to be asked directly and one behind a gateway, until the test file
// ends. The gateway has the usual providers, and in the given dialect "down", which nobody can reach, and "late",
// whose answers it waits for no longer than 300 ms.
export async function stage(dialect) {
  const version = dialect === 'openai' ? '/v1' : '';
  const [direct, behind] = await Promise.all([simulator(), simulator()]);
  const gateway = await run(['serve'], {
    OPTIMIZER_SERVER__LISTEN: '127.0.0.1:0',
    OPTIMIZER_ADMIN__LISTEN: '127.0.0.1:0',
    OPTIMIZER_SERVER__REPLAY_LIMIT: `${replayLimit}B`,
    OPTIMIZER_SERVER__MAX_BODY: `${maxBody}B`,
    OPTIMIZER_LOG__ACCESS: 'off',
    OPTIMIZER_STORAGE__DIR: '', // nothing is left behind, nor known of an earlier run
    OPTIMIZER_PROVIDERS__OPENAI__BASE_URL: `${behind.sim}/v1`,
    OPTIMIZER_PROVIDERS__ANTHROPIC__BASE_URL: behind.sim,
    OPTIMIZER_PROVIDERS__GEMINI__BASE_URL: behind.sim,
    OPTIMIZER_PROVIDERS__DOWN__DIALECT: dialect,
    OPTIMIZER_PROVIDERS__DOWN__BASE_URL: `http://127.0.0.1:1${version}`, // a port that nobody is given
    OPTIMIZER_PROVIDERS__LATE__DIALECT: dialect,
    OPTIMIZER_PROVIDERS__LATE__BASE_URL: `${behind.sim}${version}`,
    OPTIMIZER_PROVIDERS__LATE__TIMEOUTS__FIRST_BYTE: '300ms',
  });
  let ended;
  const stop = () => (ended ??= Promise.all([gateway, direct, behind].map((program) => program.stop())));
  after(stop);
  return { direct: direct.sim, behind: behind.sim, proxy: gateway.proxy, admin: gateway.admin, stop };
}

// settled checks that nothing is left of the exchanges of a test file, and that all programs end well when asked to.
export async function settled({ admin, behind, stop }) {
  await eventually('no exchange is in flight', 2000, async () => {
    const metrics = await (await fetch(`${admin}/metrics`)).text();
    const inFlight = /^llmopt_exchanges_in_flight (\d+)$/m.exec(metrics);
    return inFlight[1] === '0' && (await stats(behind)).in_flight === 0;
  });
  assert.equal((await stats(behind)).malformed, 0);
  for (const { status, log } of await stop()) {
    assert.equal(status, 0, log);
    assert.doesNotMatch(log, /panic/);
  }
}

// stats tells what a simulator has seen.
export const stats = async (sim) => (await fetch(`${sim}/sim/stats`)).json();

// script says what a simulator does with its next requests.
export async function script(sim, text) {
  const answer = await fetch(`${sim}/sim/script`, { method: 'POST', body: text });
  assert.equal(answer.status, 204, await answer.text());
}

// eventually waits until the condition holds.
export async function eventually(what, within, holds) {
  const end = Date.now() + within;
  while (!await holds()) {
    assert.ok(Date.now() < end, `after ${within} ms still not: ${what}`);
    await new Promise((resolve) => { setTimeout(resolve, 10); });
  }
}
