// The npm package tla-checker (TLA+ explicit-state checker as WebAssembly) without a browser.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { check_spec_with_cfg, initSync } from 'tla-checker';

const folder = dirname(createRequire(import.meta.url).resolve('tla-checker'));
initSync({ module: readFileSync(join(folder, 'tla_checker_bg.wasm')) });
const specification = readFileSync(join(dirname(fileURLToPath(import.meta.url)), 'Committer.tla'), 'utf8');
const mostSteps = 1000;

/** Checks Committer.tla under a TLC configuration. `graph`: with all states and steps, in DOT. */
export function checkModel(config, { mostStates, graph = false }) {
  const result = JSON.parse(check_spec_with_cfg(specification, config, '{}', mostStates, mostSteps, true, graph));
  // The package stops at its limit without a word.
  if (result.success && result.states_explored >= mostStates) return { ...result, success: false, error_type: 'Limit', error_message: `more than ${mostStates} states` };
  return result;
}

/** The states of a graph, each on one line. */
export function statesOf(dot) {
  const states = new Set();
  for (const [, label] of dot.matchAll(/^ {2}s\d+ \[label="((?:[^"\\]|\\.)*)"/gm)) {
    states.add(label.replaceAll('\\n', ' ').replaceAll('\\\\"', '"').replaceAll('\\"', '"'));
  }
  return states;
}
