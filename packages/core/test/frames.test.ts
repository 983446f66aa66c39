import "./globals.ts";
import assert from "node:assert/strict";
import { test } from "node:test";
import { loudness } from "../src/capture.ts";
import { type Frame, FrameBuffers, FrameReceiver, kindOf } from "../src/engine/frames.ts";
import { code, frameKind, WasmSession } from "../src/engine/module.ts";
import { parseTransformOptions } from "../src/messages.ts";
import { shortenedAnswer, withAllowedExtensions, withResentSound } from "../src/peer.ts";
import { SentTotals } from "../src/publish.ts";
import { instantiate, skip } from "./wasm.ts";

test("what the encoder made is named by its codec, frame by frame, and what has no shell has no name", () => {
  const frame = (type: string | undefined, mimeType?: string): Frame =>
    ({ ...(type === undefined ? {} : { type }), getMetadata: () => ({ mimeType }) }) as unknown as Frame;
  assert.equal(kindOf(frame("key", "video/VP8"), "video"), frameKind.vp8Key);
  assert.equal(kindOf(frame("delta", "video/VP8"), "video"), frameKind.vp8Delta);
  assert.equal(kindOf(frame("key", "video/VP9"), "video"), frameKind.vp9);
  assert.equal(kindOf(frame("key", "video/AV1"), "video"), frameKind.av1Key);
  assert.equal(kindOf(frame("delta", "video/av1"), "video"), frameKind.av1Delta);
  assert.equal(kindOf(frame("key", "video/H264"), "video"), frameKind.h264Key);
  assert.equal(kindOf(frame("delta", "video/H264"), "video"), frameKind.h264Delta);
  assert.equal(kindOf(frame(undefined), "audio"), frameKind.opus);
  for (const [type, mime] of [["key", "video/H265"], ["key", undefined], ["empty", "video/VP8"], [undefined, "video/VP8"]] as const) {
    assert.equal(kindOf(frame(type, mime), "video"), null);
  }
  assert.equal(kindOf(frame("key", "video/VP8"), "audio"), null);
});

const outbound = (framesSent: number, packetsSent: number, id = "x", ssrc = 1): RTCOutboundRtpStreamStats => ({
  id,
  timestamp: 0,
  type: "outbound-rtp",
  kind: "video",
  ssrc,
  framesSent,
  packetsSent,
});

test("what a source sent is counted in frames for video and in packets for audio, over streams and counts that begin anew", () => {
  const totals = new SentTotals();
  assert.equal(totals.of("camera"), 0);
  totals.note("camera", outbound(10, 80));
  totals.note("microphone", outbound(0, 50));
  totals.note("camera", outbound(12, 90));
  assert.deepEqual([totals.of("camera"), totals.of("microphone"), totals.of("screen")], [12, 50, 0]);
  totals.note("camera", outbound(3, 10)); // Firefox, with another codec
  assert.equal(totals.of("camera"), 15);
  totals.note("camera", outbound(4, 12));
  totals.note("camera", outbound(2, 12, "y", 2)); // another layer
  assert.equal(totals.of("camera"), 18);
});

test("sound that was sent again is counted once, and one more that was not encrypted is seen", () => {
  const totals = new SentTotals();
  totals.note("microphone", { ...outbound(0, 57), retransmittedPacketsSent: 7 } as RTCOutboundRtpStreamStats);
  assert.equal(totals.of("microphone"), 50);
  totals.note("microphone", { ...outbound(0, 58), retransmittedPacketsSent: 7 } as RTCOutboundRtpStreamStats);
  assert.equal(totals.of("microphone"), 51);
});

test("a report that is older than the last one is no new beginning of the count", () => {
  const totals = new SentTotals();
  totals.note("camera", { ...outbound(12, 90), timestamp: 2 });
  totals.note("camera", { ...outbound(10, 80), timestamp: 1 });
  assert.equal(totals.of("camera"), 12);
});

test("an answer about many slots is shortened to what the server reads", () => {
  const media = (mid: string): string =>
    `m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\na=rtcp:9 IN IP4 0.0.0.0\r\na=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\na=ice-ufrag:abcd\r\na=ice-pwd:x\r\na=fingerprint:sha-256 AB\r\na=setup:active\r\na=mid:${mid}\r\na=recvonly\r\na=rtcp-mux\r\na=rtpmap:96 VP8/90000\r\na=rtcp-fb:96 nack\r\na=ssrc:1 cname:x\r\na=fmtp:97 apt=96\r\n`;
  const kept = (mid: string): string => `a=mid:${mid}\r\na=recvonly\r\na=rtcp-mux\r\na=rtpmap:96 VP8/90000\r\na=fmtp:97 apt=96\r\n`;
  assert.equal(
    shortenedAnswer(`v=0\r\na=group:BUNDLE v0 v1\r\n${media("v0")}${media("v1")}`),
    `v=0\r\na=group:BUNDLE v0 v1\r\nm=video 9 UDP/TLS/RTP/SAVPF 96 97\r\na=ice-ufrag:abcd\r\na=ice-pwd:x\r\na=fingerprint:sha-256 AB\r\na=setup:active\r\n${kept("v0")}m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\n${kept("v1")}`,
  );
});

test("an answer gets no header extension that tells about the sound", () => {
  const mid = "a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\n";
  const congestion = "a=extmap:3/sendrecv http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\n";
  const level = "urn:ietf:params:rtp-hdrext:ssrc-audio-level";
  const wanted = `v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n${mid}${congestion}a=mid:0\r\n`;
  assert.equal(withAllowedExtensions(wanted), wanted);
  const asked = wanted.replace("a=mid:0", `a=extmap:1 ${level}\r\na=extmap:2 ${level} vad=on\na=extmap:5 urn:ietf:params:rtp-hdrext:encrypt ${level}\r\na=mid:0`);
  assert.equal(withAllowedExtensions(asked), wanted);
  // ... unless its user lets the server know, and then not the same in another wrapping.
  assert.equal(withAllowedExtensions(asked, true), wanted.replace("a=mid:0", `a=extmap:1 ${level}\r\na=extmap:2 ${level} vad=on\r\na=mid:0`));
});

test("lost sound is offered again where nothing in its header changes, and pictures are as they were", () => {
  const mid = "a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\n";
  const numbers = "a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\n";
  const opus = "a=rtpmap:109 opus/48000/2\r\n";
  const video = `m=video 9 UDP/TLS/RTP/SAVPF 96\r\n${mid}${numbers}a=mid:1\r\na=rtpmap:96 VP8/90000\r\n`;
  assert.equal(
    withResentSound(`v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 109\r\n${mid}${numbers}a=mid:0\r\n${opus}a=fmtp:109 minptime=10\r\n${video}`),
    `v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 109\r\n${mid}a=mid:0\r\n${opus}a=rtcp-fb:109 nack\r\na=fmtp:109 minptime=10\r\n${video}`,
  );
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

// The real module in a session that has no group: every key is one that may still come.
async function keylessReceiver(): Promise<{ receiver: FrameReceiver; delivered: Frame[]; give: (now: number) => void }> {
  const module = await instantiate();
  const session = new WasmSession(module, { room: "test", secret: new Uint8Array(16), deviceSeed: new Uint8Array(32), name: "Ada" });
  const receiver = new FrameReceiver(session, new FrameBuffers(module), { connection: 1, mid: "v0", kind: "video" }, () => undefined, () => true);
  const delivered: Frame[] = [];
  // X, one byte of key id, counter 0 (RFC 9605 s.4.3), behind the shell's byte; then anything.
  const data = new Uint8Array(64).fill(7);
  data.set([1, 0b1000_0000, 0x13]);
  const give = (now: number): void => {
    receiver.handleFrame({ data: data.slice().buffer } as unknown as Frame, now, (frame) => delivered.push(frame));
  };
  return { receiver, delivered, give };
}

test("a frame whose key is not there yet is held for a second and never delivered undecrypted", { skip }, async () => {
  const { receiver, delivered, give } = await keylessReceiver();
  give(1000);
  assert.equal(receiver.deadline, 2000);
  receiver.handleHeld(1999);
  assert.equal(receiver.readCounts(1999, false).dropped, 0);
  receiver.handleHeld(2000);
  assert.equal(receiver.deadline, null);
  const counts = receiver.readCounts(2000, false);
  assert.deepEqual([counts.held, counts.dropped, counts.decrypted], [1, 1, 0]);
  assert.equal(delivered.length, 0);
});

test("at most 64 frames are held; the oldest makes room", { skip }, async () => {
  const { receiver, delivered, give } = await keylessReceiver();
  for (let frame = 0; frame < 70; frame += 1) give(frame);
  const counts = receiver.readCounts(70, false);
  assert.deepEqual([counts.held, counts.dropped], [70, 6]);
  assert.equal(receiver.deadline, 1006);
  assert.equal(delivered.length, 0);
});

test("a closed receiver lets nothing through and holds nothing", { skip }, async () => {
  const { receiver, delivered, give } = await keylessReceiver();
  give(1);
  receiver.close();
  give(2);
  receiver.handleHeld(5000);
  assert.equal(receiver.deadline, null);
  assert.equal(delivered.length, 0);
});

// What a receiver does with the module's answers, each of them given here.
function answeredReceiver(media: "audio" | "video"): { give: (answer: number, now: number) => void; asked: () => number; receiver: FrameReceiver; handles: number[] } {
  let answer = 0;
  let asked = 0;
  const handles: number[] = [];
  let last = 0;
  const call = {
    satsuma_receiver_new: () => {
      last += 1;
      handles.push(last);
      return last;
    },
    satsuma_receiver_free: (handle: number) => handles.splice(handles.indexOf(handle), 1).length,
    satsuma_frame_unprotect: (handle: number) => (handles.includes(handle) ? answer : code.noKey),
    satsuma_receiver_last_leaf: () => 0,
    satsuma_receiver_last_context: () => 1,
    satsuma_receiver_last_epoch: () => 1,
    satsuma_receiver_last_is_key: () => 0,
  };
  const module = { call, allocate: () => 0, free: () => undefined, protectedSize: (size: number) => size, memory: new Uint8Array(1024 * 1024) };
  const session = { module, handle: 1 } as unknown as WasmSession;
  const receiver = new FrameReceiver(session, new FrameBuffers(session.module), { connection: 1, mid: "v0", kind: media }, () => (asked += 1), () => true);
  const give = (value: number, now: number): void => {
    answer = value;
    receiver.handleFrame({ data: new ArrayBuffer(10) } as unknown as Frame, now, () => undefined);
  };
  return { give, asked: () => asked, receiver, handles };
}

test("a picture that was passed over is asked for at once, once, and again with the next that decrypts", () => {
  const { give, asked } = answeredReceiver("video");
  give(code.passedOver, 1000);
  assert.equal(asked(), 1);
  for (let now = 1100; now < 5000; now += 100) give(code.passedOver, now);
  assert.equal(asked(), 1);
  give(5, 5000);
  assert.equal(asked(), 2);
  const sound = answeredReceiver("audio");
  sound.give(code.passedOver, 1000);
  assert.equal(sound.asked(), 0);
});

test("a slot that is given to another publication is asked for a key frame, unless it begins with one", () => {
  const { give, asked, receiver } = answeredReceiver("video");
  give(5, 1000);
  assert.equal(asked(), 0);
  receiver.renew();
  give(5, 1100);
  assert.equal(asked(), 1);
});

test("a slot that is given to another publication has another receiver in the module, and one only", () => {
  const { give, receiver, handles } = answeredReceiver("audio");
  receiver.renew();
  assert.deepEqual(handles, [2]);
  give(5, 1000);
  assert.equal(receiver.readCounts(1000, false).decrypted, 1);
  receiver.close();
  receiver.renew();
  assert.deepEqual(handles, []);
});
