// Checks each models/*.cfg against Committer.tla with the npm package tla-checker, and compares the outcome with what the file's
// "expect:" line says: that all holds, or that one named property is violated. A model that expects a violation names only that one.
// usage: node spec/check.mjs [--jobs N] [name ...]        (without a name: all of models/, not of models/large/)
import { readFileSync, readdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Worker, isMainThread, parentPort, workerData } from 'node:worker_threads';
import { checkModel } from './checker.mjs';

const models = join(dirname(fileURLToPath(import.meta.url)), 'models');
const mostStates = 5_000_000;

function outcome(path) {
  const config = readFileSync(path, 'utf8');
  const expected = /^\\\* expect: (holds|violates (\w+))$/m.exec(config);
  if (!expected) return { ok: false, text: 'no "expect:" line' };
  const began = performance.now();
  const result = checkModel(config, { mostStates });
  const seconds = ((performance.now() - began) / 1000).toFixed(1);
  const kind = result.success ? 'holds' : result.error_type;
  const wanted = expected[2] === undefined ? ['holds'] : ['InvariantViolation', 'LivenessViolation'];
  // One property alone is checked, so a violation is of that one.
  const ok = wanted.includes(kind) && result.states_explored > 1;
  const found = result.success ? 'holds' : `${kind}: ${result.error_message}`;
  return { ok, text: `${result.states_explored} states, ${seconds} s: ${ok ? expected[1] : `expected "${expected[1]}", found ${found}`}`, trace: ok ? undefined : result.trace };
}

if (isMainThread) {
  const names = process.argv.slice(2);
  let jobs = availableParallelism();
  const at = names.indexOf('--jobs');
  if (at >= 0) jobs = Number(names.splice(at, 2)[1]);
  const all = readdirSync(models).filter((name) => name.endsWith('.cfg'));
  const queue = (names.length > 0 ? names.map((name) => `${name}.cfg`) : all).map((name) => join(models, name));
  let good = 0;
  let bad = 0;
  const next = () => {
    const path = queue.shift();
    if (path === undefined) return;
    const name = path.slice(models.length + 1, -'.cfg'.length);
    const worker = new Worker(new URL(import.meta.url), { workerData: path });
    const done = (result) => {
      if (result.ok) ++good;
      else ++bad;
      console.log(`${result.ok ? 'ok' : 'not ok'} - ${name}: ${result.text}`);
      for (const state of result.trace ?? []) console.log(state);
    };
    worker.on('message', done);
    worker.on('error', (error) => done({ ok: false, text: `Error: ${error.message}` }));
    worker.on('exit', next);
  };
  for (let i = 0; i < jobs; ++i) next();
  process.on('exit', () => {
    console.log(`# pass ${good}\n# fail ${bad}`);
    process.exitCode = bad === 0 && good > 0 ? 0 : 1;
  });
} else {
  parentPort.postMessage(outcome(workerData));
}
