#!/usr/bin/env node
// A module may import only what apps/wasm/imports.txt lists, and export what its header declares.
// usage: scripts/check-wasm-imports.mjs [satsuma.wasm] [imports.txt] [satsuma_wasm.h]
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');
const file = process.argv[2] ?? path.join(root, 'build/wasm/apps/wasm/satsuma.wasm');
const list = process.argv[3] ?? path.join(root, 'apps/wasm/imports.txt');
const header = process.argv[4] ?? path.join(root, 'apps/wasm/satsuma_wasm.h');

const allowed = new Set(
  fs.readFileSync(list, 'utf8').split('\n').map((line) => line.replace(/#.*/, '').trim()).filter(Boolean));
const module = new WebAssembly.Module(fs.readFileSync(file));
const imports = WebAssembly.Module.imports(module).map(({ module: from, name }) => `${from}.${name}`);
const exported = new Set(WebAssembly.Module.exports(module).map(({ name }) => name));
const declared = [...fs.readFileSync(header, 'utf8').matchAll(/\b(satsuma_[a-z0-9_]+)\s*\(/g)].map((match) => match[1]);

const failures = [];
for (const name of imports) if (!allowed.has(name)) failures.push(`imports ${name}, which ${path.relative(root, list)} does not allow`);
for (const name of ['memory', '_initialize', ...declared]) if (!exported.has(name)) failures.push(`does not export ${name}`);
if (declared.length === 0) failures.push(`${path.relative(root, header)} declares nothing: nothing was checked`);
for (const line of failures) console.error(`check-wasm-imports: ${path.basename(file)} ${line}`);
if (failures.length > 0) process.exit(1);
console.log(`check-wasm-imports: ${imports.length} imports, all listed; ${declared.length} declared functions exported`);
