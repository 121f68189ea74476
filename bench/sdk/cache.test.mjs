// A program with the official SDKs is run again and again: but for the first time the gateway's cache answers it, also after the gateway was killed.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { binary, eventually, run, simulator, stats } from './harness.mjs';

const execute = promisify(execFile);
const file = fileURLToPath(new URL('program.mjs', import.meta.url));
const dir = await mkdtemp(join(tmpdir(), 'llmopt-cache-'));
const sim = await simulator();
after(async () => {
  await sim.stop();
  await rm(dir, { recursive: true, force: true });
});

const serve = () => run(['serve'], {
  OPTIMIZER_SERVER__LISTEN: '127.0.0.1:0',
  OPTIMIZER_ADMIN__LISTEN: '127.0.0.1:0',
  OPTIMIZER_LOG__ACCESS: 'off',
  OPTIMIZER_PROVIDERS__OPENAI__BASE_URL: `${sim.sim}/v1`,
  OPTIMIZER_PROVIDERS__ANTHROPIC__BASE_URL: sim.sim,
  OPTIMIZER_PROVIDERS__GEMINI__BASE_URL: sim.sim,
  OPTIMIZER_CACHE__ENABLED: 'true',
  OPTIMIZER_CACHE__REVALIDATE: '0', // one of a hundred hits would be fetched anew
  OPTIMIZER_CACHE__DISK: '128MiB',
  OPTIMIZER_STORAGE__DIR: dir,
  OPTIMIZER_STORAGE__MIN_FREE: '0B',
});
const program = async ({ proxy }) => JSON.parse((await execute(process.execPath, [file, proxy])).stdout);
const savings = async ({ admin }) => JSON.parse((await execute(binary, ['savings', '--json', '--admin', admin])).stdout).cache;
const sum = async ({ admin }, series) => {
  const text = await (await fetch(`${admin}/metrics`)).text();
  return text.split('\n').filter((line) => line.startsWith(series)).reduce((all, line) => all + Number(line.split(' ').at(-1)), 0);
};
const calls = async () => Object.values((await stats(sim.sim)).calls).reduce((all, n) => all + n, 0);

test('the second run is served from the cache', async () => {
  let gateway = await serve();
  const there = () => eventually('the disk is there', 20000, async () => await sum(gateway, 'llmopt_cache_disk_up') === 1);
  await there();
  const first = await program(gateway);
  const n = first.length;
  assert.equal(await calls(), n);
  await eventually('all is on disk', 20000, async () => await sum(gateway, 'llmopt_cache_writes_total{tier="disk"}') === n);
  const cost = Math.round(1e9 * await sum(gateway, 'llmopt_cost_usd_total'));

  assert.deepEqual(await program(gateway), first);
  await eventually('what was saved is known', 20000, async () => (await savings(gateway)).answers === n);
  assert.equal((await savings(gateway)).saved_nanousd, cost);
  assert.ok(cost > 0);
  await gateway.crash();

  gateway = await serve();
  await there();
  await eventually('all is known', 20000, async () => await sum(gateway, 'llmopt_cache_entries{tier="disk"}') === n);
  assert.equal((await savings(gateway)).saved_nanousd, cost);
  assert.deepEqual(await program(gateway), first);
  await eventually('what was saved is known', 20000, async () => (await savings(gateway)).answers === 2 * n);
  assert.equal((await savings(gateway)).saved_nanousd, 2 * cost);
  assert.equal(await calls(), n);
  const { status, log } = await gateway.stop();
  assert.equal(status, 0, log);
  assert.doesNotMatch(log, /panic/);
});
