// Put before the engine worker's code, in a copy of the built page. The page switches them by a BroadcastChannel.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { page } from './server.mjs';

/** The folder of the copy. */
export function pageWithHook(folder, hook) {
  fs.cpSync(page, folder, { recursive: true });
  const scripts = fs.readdirSync(folder, { recursive: true }).map(String).filter((name) => name.endsWith('.js'));
  const workers = scripts.filter((name) => /\brtctransform\b/.test(fs.readFileSync(path.join(folder, name), 'utf8')));
  assert.equal(workers.length, 1, `one script handles transforms, found ${workers.join(', ')}`);
  const file = path.join(folder, workers[0]);
  fs.writeFileSync(file, hook + fs.readFileSync(file, 'utf8'));
  // Ready-made compressed copies would be served instead.
  for (const suffix of ['.br', '.gz']) fs.rmSync(file + suffix, { force: true });
  return folder;
}

/** Tells the engine of the person's page, whatever its hook understands. */
export const tellEngine = (person, message) => person.evaluate((what) => {
  const channel = new BroadcastChannel('e2e-engine');
  channel.postMessage(what);
  channel.close();
}, message);

/**
 * { forge: true }: from then on the frames of the camera that leave are not the ones that the engine signs, but others under the same keys and counters. It is
 * what somebody does who knows this member's keys, as every other member does, and whose frames the server puts in the place of the genuine ones.
 */
export const forgingHook = `
;(() => {
  let forging = false;
  new BroadcastChannel('e2e-engine').onmessage = ({ data }) => { if ('forge' in data) forging = data.forge; };
  const instantiate = WebAssembly.instantiate;
  WebAssembly.instantiate = async (...args) => {
    const instance = await instantiate(...args);
    const { exports } = instance;
    const memory = () => new Uint8Array(exports.memory.buffer);
    const protect = (sender, kind, input, size, ...rest) => {
      if (!forging || kind === 0 || size === 0) return exports.satsuma_frame_protect(sender, kind, input, size, ...rest);
      const before = memory().slice();
      memory()[input + size - 1] ^= 1;
      const made = exports.satsuma_frame_protect(sender, kind, input, size, ...rest);
      const forged = made > 0 ? memory().slice(rest[0], rest[0] + made) : new Uint8Array();
      memory().set(before); // and once more, with the same keys: the frame that is signed
      exports.satsuma_frame_protect(sender, kind, input, size, ...rest);
      memory().set(forged, rest[0]);
      return made;
    };
    return { exports: { ...exports, satsuma_frame_protect: protect } };
  };
})();
`;

/** { deaf: true }: what the server says about the group waits until { deaf: false }. */
export const deafHook = `
;(() => {
  let deaf = false;
  const waiting = [];
  new BroadcastChannel('e2e-engine').onmessage = ({ data }) => {
    if (!('deaf' in data)) return;
    deaf = data.deaf;
    if (!deaf) for (const deliver of waiting.splice(0)) deliver();
  };
  const { set } = Object.getOwnPropertyDescriptor(WebSocket.prototype, 'onmessage');
  Object.defineProperty(WebSocket.prototype, 'onmessage', { configurable: true, set(listener) {
    set.call(this, (event) => {
      if (deaf && event.data instanceof ArrayBuffer) waiting.push(() => listener(event));
      else listener(event);
    });
  } });
})();
`;
