// Checks each models/*.cfg in two ways, and compares them.
// - Committer.tla with the npm package tla-checker. The outcome must be what the file's "expect:" line says: that all holds, or that the one
//   property that the file names is violated by the mistake that it puts in.
// - The explorer (sim/explore), which drives the real C++, in the same bounds and with the same mistakes. Where all holds, the states that it visits must
//   be exactly the specification's.
// usage: node spec/check.mjs [--jobs N] [--explorer PROGRAM] [name ...]        (without a name: all of models/, not of models/large/)
import { execFile } from 'node:child_process';
import { readFileSync, readdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Worker, isMainThread, parentPort, workerData } from 'node:worker_threads';
import { checkModel, statesOf } from './checker.mjs';

const models = join(dirname(fileURLToPath(import.meta.url)), 'models');
const mostStates = 5_000_000;

function parse(config) {
  const constant = (name) => new RegExp(`^ *${name} = (.*)$`, 'm').exec(config)?.[1];
  const strings = (name) => [...(constant(name) ?? '').matchAll(/"(\w+)"/g)].map((match) => match[1]);
  return {
    violates: /^\\\* expect: (?:holds|violates (\w+))$/m.exec(config)?.[1],
    isLiveness: config.includes('\nPROPERTIES'),
    bug: strings('Bugs')[0],
    bounds: ['--people', constant('N'), '--warm', constant('Warm'), '--budget', constant('Budget'), '--faults', strings('Faults').join(',')],
  };
}

/** Of this thread: how busy the machine is otherwise does not count. */
function cpuSeconds() {
  const [, fields] = readFileSync('/proc/thread-self/stat', 'utf8').split(') ');
  const [user, system] = fields.split(' ').slice(11, 13).map(Number);
  return (user + system) / 100;
}

function specification({ config, graph }) {
  if (!/^\\\* expect: (holds|violates \w+)$/m.test(config)) return { ok: false, text: 'no "expect:" line' };
  const { violates } = parse(config);
  const began = cpuSeconds();
  const result = checkModel(config, { mostStates, graph });
  const seconds = (cpuSeconds() - began).toFixed(1);
  const found = result.success ? 'holds' : `${result.error_type}: ${result.error_message}`;
  // A mistake's file names one property, so a violation is of that one.
  const wanted = violates === undefined ? ['holds'] : ['InvariantViolation', 'LivenessViolation'];
  const ok = wanted.includes(result.success ? 'holds' : result.error_type) && result.states_explored > 1;
  const outcome = violates === undefined ? 'holds' : `violates ${violates}`;
  const text = `${result.states_explored} states, ${seconds} s of CPU: ${ok ? outcome : `expected "${outcome}", found ${found}`}`;
  return { ok, text, details: ok ? [] : result.trace ?? [], states: ok && graph ? statesOf(result.dot) : undefined };
}

const inWorker = (input) =>
  new Promise((resolve) => {
    const worker = new Worker(new URL(import.meta.url), { workerData: input });
    worker.on('message', resolve);
    worker.on('error', (error) => resolve({ ok: false, text: `Error: ${error.message}` }));
  });

const explore = (program, options) =>
  new Promise((resolve) => {
    execFile(program, options, { maxBuffer: 1 << 30 }, (error, stdout, stderr) => resolve({ ok: error === null, lines: stdout.split('\n').filter(Boolean), stderr }));
  });

async function exploration(program, { violates, isLiveness, bug, bounds }, states) {
  if (bug !== undefined) {
    // A quiet state that has not converged is where fairness ends without what the liveness property promises.
    const { ok, stderr } = await explore(program, [...bounds, '--bug', bug, '--expect', isLiveness ? 'QuietMeansConverged' : violates]);
    return { ok, text: stderr.trim().split('\n').at(-1) ?? '', details: ok ? [] : [stderr] };
  }
  const { ok, lines, stderr } = await explore(program, [...bounds, '--states']);
  if (!ok) return { ok, text: 'a property is violated', details: [stderr] };
  const code = new Set(lines);
  const onlySpecification = [...states].filter((state) => !code.has(state));
  const onlyCode = [...code].filter((state) => !states.has(state));
  const equal = onlySpecification.length === 0 && onlyCode.length === 0 && code.size > 1;
  const details = [];
  if (onlySpecification.length > 0) details.push(`only in the specification (${onlySpecification.length}), such as:`, onlySpecification[0]);
  if (onlyCode.length > 0) details.push(`only in the code (${onlyCode.length}), such as:`, onlyCode[0]);
  return { ok: equal, text: equal ? `the ${code.size} states are the specification's` : 'Error: specification and code differ', details };
}

async function main(names) {
  const option = (name) => {
    const at = names.indexOf(name);
    return at < 0 ? undefined : names.splice(at, 2)[1];
  };
  const jobs = Number(option('--jobs') ?? availableParallelism());
  const explorer = option('--explorer');
  const all = readdirSync(models).filter((name) => name.endsWith('.cfg')).map((name) => name.slice(0, -'.cfg'.length));
  const queue = names.length > 0 ? names : all;
  let good = 0;
  let bad = 0;
  const report = (name, { ok, text, details = [] }) => {
    if (ok) ++good;
    else ++bad;
    console.log([`${ok ? 'ok' : 'not ok'} - ${name}: ${text}`, ...details].join('\n'));
  };
  const work = async () => {
    for (let name = queue.shift(); name !== undefined; name = queue.shift()) {
      const config = readFileSync(join(models, `${name}.cfg`), 'utf8');
      const model = parse(config);
      const compares = explorer !== undefined && (model.bug !== undefined || !model.isLiveness);
      const result = await inWorker({ config, graph: compares && model.bug === undefined });
      report(name, result);
      if (compares && result.ok) report(`${name}, in the code`, await exploration(explorer, model, result.states));
    }
  };
  await Promise.all(Array.from({ length: jobs }, work));
  console.log(`# pass ${good}\n# fail ${bad}`);
  process.exitCode = bad === 0 && good > 0 ? 0 : 1;
}

if (isMainThread) await main(process.argv.slice(2));
else parentPort.postMessage(specification(workerData));
