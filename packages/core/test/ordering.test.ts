import "./globals.ts";
import assert from "node:assert/strict";
import { test } from "node:test";
import { FrameBuffers } from "../src/engine/frames.ts";
import { code, frameKind, shell, WasmSession } from "../src/engine/module.ts";
import { OrderingRoom } from "../src/ordering.ts";
import { callOfTwo, Peer, until } from "./peers.ts";
import { instantiate, skip } from "./wasm.ts";

test("a room that is ordered without a server: people come and go, one number on all sides, frames of every codec pass", { skip }, async () => {
  const module = await instantiate();
  const { ada, bo, enter } = await callOfTwo(module);
  const cy = enter("Cy", 3);
  const all = [ada, bo, cy];
  await until("Cy is let in", all, () => all.every(({ people }) => people.length === 3));
  assert.equal(new Set(all.map(({ epoch }) => epoch?.safety_number)).size, 1);

  const buffers = new FrameBuffers(module);
  const { call } = module;
  const now = (): number => Math.floor(performance.now() * 1000);
  const camera = call.satsuma_sender_new(ada.session.handle, 1);
  const microphone = call.satsuma_sender_new(ada.session.handle, 0);
  await until("Ada sends in the new epoch", all, () => ada.events.some((event) => event.type === "keys" && event.sending?.epoch === ada.epoch?.epoch));
  for (const kind of Object.values(frameKind)) {
    const isAudio = kind === frameKind.opus;
    const plain = new Uint8Array(3000).map((_, at) => (at % 7 === 0 ? at : 0));
    assert.ok(buffers.load(plain.buffer));
    const size = call.satsuma_frame_protect(isAudio ? microphone : camera, kind, buffers.input, plain.length, buffers.output, buffers.capacity, now());
    assert.ok(size > plain.length, `kind ${kind}: ${size}`);
    const frame = buffers.take(size);
    for (const reader of [bo, cy]) {
      const receiver = call.satsuma_receiver_new(reader.session.handle);
      const open = (): number => {
        assert.ok(buffers.load(frame));
        return call.satsuma_frame_unprotect(receiver, isAudio ? shell.none : shell.video, buffers.input, size, buffers.output, buffers.capacity, now());
      };
      assert.equal(open(), plain.length, `kind ${kind}`);
      assert.deepEqual(new Uint8Array(buffers.take(plain.length)), plain);
      assert.equal(call.satsuma_receiver_last_leaf(receiver), 0);
      assert.equal(call.satsuma_receiver_last_epoch(receiver), ada.epoch?.epoch);
      const key: Readonly<Record<number, number>> = { [frameKind.vp8Key]: 1, [frameKind.av1Key]: 1, [frameKind.h264Key]: 1, [frameKind.opus]: -1, [frameKind.vp9]: -1 };
      assert.equal(call.satsuma_receiver_last_is_key(receiver), key[kind] ?? 0);
      assert.equal(open(), code.replayed);
    }
  }

  const told = (peer: Peer): number => peer.events.filter((event) => event.type === "announcement").length;
  const state = JSON.stringify({ type: "state", microphone: true, camera: false, screen: false });
  const cyId = ada.epoch?.roster.find(({ name }) => name === "Cy")?.incarnation ?? assert.fail("Cy is in");
  assert.ok(bo.session.sendApplication(state, [cyId]));
  await until("Cy alone is told", all, () => told(cy) === 1);
  assert.ok(bo.session.sendApplication(state, []));
  await until("all are told", all, () => told(cy) === 2 && told(ada) === 1);

  bo.leave();
  await until("Bo is taken out", [ada, cy], () => [ada, cy].every(({ people }) => people.join() === "Ada,Cy"));
  const di = enter("Di", 4); // in Bo's leaf
  await until("Di is let in", [ada, cy, di], () => [ada, cy, di].every(({ people }) => people.length === 3));
  assert.equal(new Set([ada, cy, di].map(({ epoch }) => epoch?.safety_number)).size, 1);
});

test("two who enter an empty room at once find one group, and what cannot be read changes nothing", { skip }, async () => {
  const module = await instantiate();
  const room = new OrderingRoom();
  const stranger = room.connect(() => undefined);
  for (const bytes of [[], [1], [1, 0, 1, 4], [9], [4, 0]]) stranger.receive(new Uint8Array(bytes));
  const peers = ["Ada", "Bo"].map(
    (name, seed) => new Peer(new WasmSession(module, { room: "demo", secret: new Uint8Array(16), deviceSeed: new Uint8Array(32).fill(seed), name }), room),
  );
  await until("both are in", peers, () => peers.every(({ people }) => people.length === 2));
  assert.equal(new Set(peers.map(({ epoch }) => epoch?.safety_number)).size, 1);
});
