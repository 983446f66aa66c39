import "./globals.ts";
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { code, frameKind, shell, WasmModule, WasmSession } from "../src/engine/module.ts";
import { FrameBuffers } from "../src/engine/frames.ts";

// From dist/test, where the tests run. `./run --build-only` puts it there.
const compiled = await readFile(new URL("../../wasm/satsuma.wasm", import.meta.url)).catch(() => null);
const skip = compiled === null ? "the module is not built" : false;

async function newSession(): Promise<WasmSession> {
  assert.ok(compiled !== null);
  const module = await WasmModule.instantiate(await WebAssembly.compile(new Uint8Array(compiled)));
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
  const protectedFrame = buffers.run(frame, (input, size, output, capacity) =>
    call.satsuma_frame_protect(sender, frameKind.vp8Key, input, size, output, capacity, 1),
  );
  assert.equal(protectedFrame, code.noKey);
  const opened = buffers.run(frame, (input, size, output, capacity) =>
    call.satsuma_frame_unprotect(receiver, shell.vp8, input, size, output, capacity, 1),
  );
  assert.equal(typeof opened, "number");
});

test("the buffers refuse a frame beyond their bound and grow up to it", { skip }, async () => {
  const session = await newSession();
  const buffers = new FrameBuffers(session.module);
  assert.equal(buffers.run(new ArrayBuffer(5 * 1024 * 1024), () => 0), code.noSpace);
  const echo = buffers.run(new Uint8Array(1024 * 1024).fill(5).buffer, (input, size, output, capacity) => {
    assert.ok(capacity > size);
    session.module.bytes(output, size).set(session.module.bytes(input, size));
    return size;
  });
  assert.ok(echo instanceof ArrayBuffer);
  assert.equal(new Uint8Array(echo)[1024 * 1024 - 1], 5);
});
