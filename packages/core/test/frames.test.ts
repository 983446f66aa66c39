import assert from "node:assert/strict";
import { test } from "node:test";
import { loudness } from "../src/capture.ts";
import { epochBitsOf } from "../src/engine/frames.ts";
import { parseTransformOptions } from "../src/messages.ts";
import { outranWorker } from "../src/publish.ts";

const bytes = (...values: readonly number[]): ArrayBuffer => new Uint8Array(values).buffer;

test("the epoch's bits are the low four of the key id, inline, in one byte or in several, behind a shell or not", () => {
  assert.equal(epochBitsOf(bytes(0b0101_0000), 0), 5);
  assert.equal(epochBitsOf(bytes(0b1000_0000, 0x2b), 0), 0xb);
  assert.equal(epochBitsOf(bytes(0b1001_0000, 0x12, 0x3c), 0), 0xc);
  assert.equal(epochBitsOf(bytes(0x00, 0b1001_0000, 0x12, 0x3c), 1), 0xc);
  assert.equal(epochBitsOf(bytes(), 0), 0);
});

const outbound = (framesSent: number, packetsSent: number): RTCOutboundRtpStreamStats => ({
  id: "x",
  timestamp: 0,
  type: "outbound-rtp",
  kind: "video",
  ssrc: 1,
  framesSent,
  packetsSent,
});

test("the watchdog compares frames for video and packets for audio", () => {
  assert.equal(outranWorker("camera", outbound(10, 80), 10), false);
  assert.equal(outranWorker("camera", outbound(11, 80), 10), true);
  assert.equal(outranWorker("microphone", outbound(0, 50), 50), false);
  assert.equal(outranWorker("microphone", outbound(0, 51), 50), true);
});

test("a transform is made only with a purpose that is written down", () => {
  assert.deepEqual(parseTransformOptions({ role: "sender", connection: 1, source: "camera" }), { role: "sender", connection: 1, source: "camera" });
  assert.deepEqual(parseTransformOptions({ role: "receiver", connection: 1, mid: "v0", kind: "video" }), { role: "receiver", connection: 1, mid: "v0", kind: "video" });
  for (const value of [undefined, null, {}, { role: "sender", connection: 1 }, { role: "sender", connection: 1, source: "nose" }, { role: "receiver", connection: -1, mid: "v0", kind: "video" }, { role: "both" }]) {
    assert.equal(parseTransformOptions(value), null);
  }
});

test("the level meter goes from silence to loud", () => {
  assert.equal(loudness(new Float32Array(64)), 0);
  assert.equal(loudness(new Float32Array(64).fill(1)), 1);
  const middle = loudness(new Float32Array(64).fill(0.02));
  assert.ok(middle > 0.3 && middle < 0.7);
});
