#!/usr/bin/env node
// Runs a WASI program: scripts/run-wasm.mjs program.wasm [arguments]. It sees the files and the environment as a native one would.
import fs from 'node:fs';
import { WASI } from 'node:wasi';

const [program, ...args] = process.argv.slice(2);
if (program === undefined) {
  console.error('usage: scripts/run-wasm.mjs program.wasm [arguments]');
  process.exit(2);
}
const wasi = new WASI({ version: 'preview1', args: [program, ...args], env: process.env, preopens: { '/': '/' }, returnOnExit: true });
const module = await WebAssembly.compile(fs.readFileSync(program));
const instance = await WebAssembly.instantiate(module, { wasi_snapshot_preview1: wasi.wasiImport });
process.exitCode = wasi.start(instance);
