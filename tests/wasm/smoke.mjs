#!/usr/bin/env node
// Loads the browser module under node. Without a server: a session says hello and refuses to send media. With one: two
// sessions meet in a room, see the same safety number, and exchange encrypted frames and messages.
// usage: tests/wasm/smoke.mjs [satsuma.wasm] [wss://host:port/ws]
import assert from 'node:assert/strict';
import { webcrypto as crypto } from 'node:crypto';
import fs from 'node:fs';
import { WASI } from 'node:wasi';

const file = process.argv[2] ?? new URL('../../build/wasm/apps/wasm/satsuma.wasm', import.meta.url).pathname;
const server = process.argv[3];

const wasi = new WASI({ version: 'preview1', returnOnExit: true });
const { instance } = await WebAssembly.instantiate(fs.readFileSync(file), { wasi_snapshot_preview1: wasi.wasiImport });
wasi.initialize(instance);
const core = instance.exports;
assert.equal(core.satsuma_abi_version(), 3);

const now = () => performance.now() * 1000;
const memory = (pointer, size) => new Uint8Array(core.memory.buffer, pointer, size);
function withBytes(chunks, action) {
  const pointers = chunks.map((bytes) => {
    if (bytes.length === 0) return 0;
    const pointer = core.satsuma_alloc(bytes.length);
    memory(pointer, bytes.length).set(bytes);
    return pointer;
  });
  try {
    return action(...chunks.flatMap((bytes, i) => [pointers[i], bytes.length]));
  } finally {
    chunks.forEach((bytes, i) => core.satsuma_free(pointers[i], bytes.length));
  }
}
const utf8 = (text) => new TextEncoder().encode(text);

class Session {
  events = [];
  constructor(name, room, secret = new Uint8Array(16).fill(7), suite = 0) {
    this.name = name;
    const seed = crypto.getRandomValues(new Uint8Array(32));
    this.handle = withBytes([utf8(room), secret, seed, utf8(name)], (...args) => core.satsuma_session_new(...args, suite, now(), Date.now() / 1000));
  }
  *outputs() {
    for (let pointer; (pointer = core.satsuma_session_poll(this.handle)) !== 0; ) {
      const header = new DataView(core.memory.buffer, pointer, 8);
      const size = header.getUint32(4, true);
      yield { kind: header.getUint32(0, true), payload: memory(pointer + 8, size).slice() };
    }
  }
  epoch() {
    return this.events.filter((event) => event.type === 'epoch').at(-1);
  }
  // A caller's run loop, as apps/wasm/README.md says.
  run() {
    for (const { kind, payload } of this.outputs()) {
      if (kind === 1) this.socket.send(payload);
      else if (kind === 2) this.events.push(JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(payload)));
      else this.socket.close();
    }
    clearTimeout(this.timer);
    const deadline = core.satsuma_session_next_deadline(this.handle);
    if (deadline < 0) return;
    this.timer = setTimeout(() => {
      core.satsuma_session_timeout(this.handle, now());
      this.run();
    }, Math.max(0, (deadline - now()) / 1000));
  }
  connect(WebSocket) {
    this.socket = new WebSocket(server, ['satsuma.1'], { rejectUnauthorized: false });
    this.socket.binaryType = 'nodebuffer';
    this.socket.on('error', (error) => { throw error; });
    this.socket.on('open', () => { core.satsuma_session_connected(this.handle, now()); this.run(); });
    this.socket.on('message', (data, binary) => {
      if (!binary) return;
      withBytes([data], (pointer, size) => core.satsuma_session_frame(this.handle, pointer, size, now()));
      this.run();
    });
    this.socket.on('close', () => { core.satsuma_session_disconnected(this.handle, now()); this.run(); });
  }
}

// --- alone
const lone = new Session('Ada', 'orchard');
assert.ok(lone.handle > 0);
assert.equal(core.satsuma_session_connected(lone.handle, now()), 0);
const [hello] = [...lone.outputs()];
assert.equal(hello.kind, 1);
assert.equal(hello.payload[0], 1, 'the first frame is hello');
assert.ok(hello.payload.length <= 4096);
assert.equal(new Session('Ada', 'Not A Room').handle, 0);
assert.equal(new Session('\u0000', 'orchard').handle, 0);
assert.equal(new Session('Ada', 'orchard', new Uint8Array(3)).handle, 0);
assert.equal(new Session('Ada', 'orchard', undefined, 99).handle, 0);
const early = core.satsuma_sender_new(lone.handle, 1);
const buffer = core.satsuma_alloc(4096);
assert.equal(core.satsuma_frame_protect(early, 1, buffer, 100, buffer + 2048, 2048, now()), -10, 'no key, no frame');
core.satsuma_session_free(lone.handle);
assert.equal(core.satsuma_frame_protect(early, 1, buffer, 100, buffer + 2048, 2048, now()), -1, 'freed with its session');
assert.equal(core.satsuma_session_poll(lone.handle), 0);
console.log('smoke: the module loads, says hello, and sends nothing in the clear');
if (server === undefined) process.exit(0);

// --- together
const { default: WebSocket } = await import('ws');
const until = async (what, condition) => {
  const start = Date.now();
  while (!condition()) {
    if (Date.now() - start > 10_000) throw new Error(`not within 10 s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  return Date.now() - start;
};
const room = `smoke-${Date.now()}`;
const ada = new Session('Ada', room);
ada.connect(WebSocket);
const first = await until('the first enters', () => ada.epoch());
const bo = new Session('Bo 🍊', room);
bo.connect(WebSocket);
const second = await until('the second enters', () => bo.epoch() && ada.epoch().roster.length === 2);
assert.equal(ada.epoch().safety_number, bo.epoch().safety_number);
assert.match(ada.epoch().safety_number, /^(\d{5} ){5}\d{5}$/);
assert.deepEqual(ada.epoch().roster.map((member) => member.name), ['Ada', 'Bo 🍊']);

withBytes([utf8('{"type":"state","microphone":true}')], (pointer, size) => {
  assert.equal(core.satsuma_session_send_application(ada.handle, pointer, size, 0, 0, now()), 0);
  assert.equal(core.satsuma_session_send_application(ada.handle, pointer, size, pointer, 17, now()), -2, 'half an incarnation');
});
ada.run();
await until('the message arrives', () => bo.events.some((event) => event.type === 'application'));
await until('the sender moves on', () => ada.events.some((event) => event.type === 'keys' && event.sending?.epoch === ada.epoch().epoch));

const sender = core.satsuma_sender_new(ada.handle, 1);
const receiver = core.satsuma_receiver_new(bo.handle);
const size = 1200;
const plain = core.satsuma_alloc(size);
const sealed = core.satsuma_alloc(core.satsuma_protected_size(2, size));
const opened = core.satsuma_alloc(core.satsuma_protected_size(2, size));
memory(plain, size).fill(5);
const protect = () => core.satsuma_frame_protect(sender, 2, plain, size, sealed, core.satsuma_protected_size(2, size), now());
const unprotect = (length) => core.satsuma_frame_unprotect(receiver, 1, sealed, length, opened, length, now());
const length = protect();
assert.ok(length > size && length <= size + 25, `${length}`);
assert.equal(unprotect(length), size);
assert.deepEqual(memory(opened, size), memory(plain, size));
assert.equal(core.satsuma_receiver_last_leaf(receiver), 0);
assert.equal(core.satsuma_receiver_last_context(receiver), 1);
assert.equal(core.satsuma_receiver_last_is_key(receiver), 0);
assert.equal(unprotect(length), -13, 'seen before');
const forged = protect();
memory(sealed, 1)[0] ^= 1;
assert.equal(unprotect(forged), -14, 'the shell is authenticated');

const rounds = 5000;
const start = performance.now();
for (let i = 0; i < rounds; ++i) assert.equal(unprotect(protect()), size);
const each = ((performance.now() - start) * 1000) / rounds;

core.satsuma_session_leave(ada.handle, now());
ada.run();
const left = await until('the departure is committed', () => bo.epoch().roster.length === 1);
assert.deepEqual(bo.epoch().reason.left, ['Ada']);
console.log(`smoke: first in after ${first} ms, second after ${second} ms, departure after ${left} ms; protect and unprotect ${size} bytes: ${each.toFixed(1)} us together`);
process.exit(0);
