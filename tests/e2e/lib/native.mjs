// A participant without a browser.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { binary } from './server.mjs';

const native = process.env.SATSUMA_CLIENT ?? path.join(path.dirname(binary), '../client/satsuma');
export const nativeExists = fs.existsSync(native);

/** Joins, from the server's host unless another is given, and publishes. */
export function joinNatively(url, name, { host = null, options = [] } = {}) {
  const all = ['join', url, '--insecure', '--name', name, '--publish', 'test-pattern', '--decode', '--json', '--seconds', '150', ...options];
  const [command, args] = host === null ? [native, all] : host.command(native, ...all);
  const child = spawn(command, args);
  const output = { text: '', problems: '' };
  child.stdout.on('data', (data) => { output.text += data; });
  child.stderr.on('data', (data) => { output.problems += data; });
  const ended = new Promise((resolve) => child.once('close', resolve));
  return {
    async leave() {
      child.kill('SIGINT');
      const code = await ended;
      assert.equal(code, 0, output.problems);
      return JSON.parse(output.text);
    },
    end: () => child.kill('SIGKILL'),
  };
}

/** `satsuma` with these arguments, from the server's host; returns what ends it. */
export function runNatively(...args) {
  const child = spawn(native, args, { stdio: 'ignore' });
  return () => child.kill('SIGKILL');
}
