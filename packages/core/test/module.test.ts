import "./globals.ts";
import assert from "node:assert/strict";
import { test } from "node:test";
import { code, frameKind, shell, WasmSession } from "../src/engine/module.ts";
import { FrameBuffers } from "../src/engine/frames.ts";
import { instantiate, skip } from "./wasm.ts";

async function newSession(): Promise<WasmSession> {
  const module = await instantiate();
  return new WasmSession(module, {
    room: "test",
    secret: new Uint8Array(16).fill(7),
    deviceSeed: new Uint8Array(32).fill(9),
    name: "Ada",
  });
}

test("the module runs with the imports that we give it, and greets the server first", { skip }, async () => {
  const session = await newSession();
  assert.equal(session.poll(), null);
  session.connected();
  const hello = session.poll();
  assert.ok(hello?.kind === "binary");
  assert.equal(hello.bytes[0], 1); // docs/protocol.md s.2
  assert.ok(hello.bytes.length < 4096);
});

test("arguments that the module refuses are an error, not a session", { skip }, async () => {
  const { module } = await newSession();
  const good = { room: "test", secret: new Uint8Array(16), deviceSeed: new Uint8Array(32), name: "Ada" };
  assert.throws(() => new WasmSession(module, { ...good, room: "Not A Room" }));
  assert.throws(() => new WasmSession(module, { ...good, secret: new Uint8Array(5) }));
  assert.throws(() => new WasmSession(module, { ...good, deviceSeed: new Uint8Array(31) }));
});

test("without a key a frame does not come out, and a frame that is not ours is not decrypted", { skip }, async () => {
  const session = await newSession();
  const { call } = session.module;
  const buffers = new FrameBuffers(session.module);
  const sender = call.satsuma_sender_new(session.handle, 1);
  const receiver = call.satsuma_receiver_new(session.handle);
  const frame = new Uint8Array(1000).fill(3).buffer;
  assert.ok(buffers.load(frame));
  const { input, output, capacity } = buffers;
  for (const kind of Object.values(frameKind)) {
    assert.ok(capacity >= call.satsuma_protected_size(kind, 1000));
    assert.equal(call.satsuma_frame_protect(sender, kind, input, 1000, output, capacity, 1), code.noKey);
  }
  assert.equal(call.satsuma_protected_size(8, 1000), 0);
  for (const kind of Object.values(shell)) {
    assert.ok(call.satsuma_frame_unprotect(receiver, kind, input, 1000, output, capacity, 1) < 0);
  }
  assert.equal(call.satsuma_receiver_last_leaf(receiver), -1);
  assert.equal(call.satsuma_receiver_last_epoch(receiver), -1);
});

test("the buffers refuse a frame beyond their bound and grow up to it", { skip }, async () => {
  const session = await newSession();
  const buffers = new FrameBuffers(session.module);
  assert.equal(buffers.load(new ArrayBuffer(5 * 1024 * 1024)), false);
  for (const size of [1024, 1024 * 1024, 4 * 1024 * 1024]) {
    assert.ok(buffers.load(new Uint8Array(size).fill(5).buffer));
    assert.ok(buffers.capacity > size);
    session.module.memory.copyWithin(buffers.output, buffers.input, buffers.input + size);
    const back = new Uint8Array(buffers.take(size));
    assert.deepEqual([back.length, back[0], back[size - 1]], [size, 5, 5]);
  }
});
