import assert from "node:assert/strict";
import { test } from "node:test";
import { chooseVideoCodec, isOurs, type VideoCodec } from "../src/codecs.ts";

const all: readonly VideoCodec[] = ["av1", "vp9", "vp8", "h264"];
const firefox: readonly VideoCodec[] = ["av1", "vp9", "vp8"];

test("the best that all can is taken", () => {
  assert.equal(chooseVideoCodec(all, [], "vp8"), "av1");
  assert.equal(chooseVideoCodec(all, [firefox, all], "vp8"), "av1");
  assert.equal(chooseVideoCodec(all, [firefox, ["vp9", "vp8"]], "av1"), "vp9");
  assert.equal(chooseVideoCodec(["vp9", "vp8"], [all], "av1"), "vp9");
  assert.equal(chooseVideoCodec(all, [["vp8"], firefox], "av1"), "vp8");
});

test("H.264 only where nothing else is, and VP8 where there is nothing in common", () => {
  assert.equal(chooseVideoCodec(all, [["vp8", "h264"]], "vp8"), "vp8");
  assert.equal(chooseVideoCodec(all, [["h264"]], "vp8"), "h264");
  assert.equal(chooseVideoCodec(firefox, [["h264"]], "vp9"), "vp8");
  assert.equal(chooseVideoCodec(all, [[]], "av1"), "vp8");
});

test("who has not said yet what it reads changes nothing, and holds nobody below what the others read", () => {
  assert.equal(chooseVideoCodec(all, [null], "vp8"), "vp8");
  assert.equal(chooseVideoCodec(all, [all, null], "vp9"), "vp9");
  assert.equal(chooseVideoCodec(all, [["vp8"], null], "vp9"), "vp8");
});

test("of a browser's codecs ours are those whose profile all have", () => {
  const codec = (mimeType: string, sdpFmtpLine?: string): RTCRtpCodec => ({ mimeType, clockRate: 90000, ...(sdpFmtpLine === undefined ? {} : { sdpFmtpLine }) });
  assert.ok(isOurs(codec("video/VP9", "profile-id=0")));
  assert.ok(isOurs(codec("video/VP9", "max-fs=12288;max-fr=60")));
  assert.ok(!isOurs(codec("video/VP9", "profile-id=2")));
  assert.ok(isOurs(codec("video/AV1", "level-idx=5;profile=0;tier=0")));
  assert.ok(isOurs(codec("video/AV1")));
  assert.ok(!isOurs(codec("video/AV1", "level-idx=5;profile=1;tier=0")));
  assert.ok(isOurs(codec("video/H264", "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f")));
  assert.ok(!isOurs(codec("video/H264", "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001f")));
  assert.ok(!isOurs(codec("video/H264", "level-asymmetry-allowed=1;packetization-mode=0;profile-level-id=42e01f")));
  assert.ok(!isOurs(codec("video/H265")) && !isOurs(codec("video/ulpfec")) && !isOurs(codec("audio/PCMU")));
});
