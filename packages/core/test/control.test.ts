import assert from "node:assert/strict";
import { test } from "node:test";
import { CheckError } from "../src/check.ts";
import { parseServerControl } from "../src/control.ts";
import { turnUrl } from "../src/peer.ts";

const someone = "0123456789abcdef0123456789abcdef";

test("each message of the server parses to its type", () => {
  assert.deepEqual(parseServerControl('{"type":"published","id":7,"sdp":"v=0"}'), { type: "published", id: 7, sdp: "v=0" });
  assert.deepEqual(parseServerControl('{"type":"offer","revision":2,"sdp":"v=0"}'), { type: "offer", revision: 2, sdp: "v=0" });
  assert.deepEqual(parseServerControl(`{"type":"slots","sequence":3,"slots":[{"mid":"a0","incarnation":"${someone}","source":"microphone"}]}`), {
    type: "slots",
    sequence: 3,
    slots: [{ mid: "a0", incarnation: someone, source: "microphone" }],
    voices: 40,
  });
  assert.deepEqual(parseServerControl('{"type":"error","code":"busy","message":"Later."}'), { type: "error", id: null, code: "busy", message: "Later." });
  assert.deepEqual(parseServerControl('{"type":"turn","username":"1:a","credential":"b"}'), { type: "turn", username: "1:a", credential: "b" });
});

test("TURN is asked for where the page came from", () => {
  assert.equal(turnUrl({ hostname: "meet.example.org", port: "" }), "turns:meet.example.org:443?transport=tcp");
  assert.equal(turnUrl({ hostname: "[2001:db8::1]", port: "8443" }), "turns:[2001:db8::1]:8443?transport=tcp");
});

test("a type of a later version is passed over", () => {
  assert.equal(parseServerControl('{"type":"weather","sun":true}'), null);
});

test("what is not as written down is refused", () => {
  const bad = [
    "",
    "[]",
    "null",
    '"text"',
    "{}",
    '{"type":7}',
    '{"type":"published","id":0,"sdp":"v=0"}',
    '{"type":"published","id":1.5,"sdp":"v=0"}',
    '{"type":"published","id":1}',
    '{"type":"offer","revision":-1,"sdp":"v=0"}',
    '{"type":"slots","sequence":1,"slots":[{"mid":"a0","incarnation":"ABC","source":"microphone"}]}',
    `{"type":"slots","sequence":1,"slots":[{"mid":"a0","incarnation":"${someone}","source":"nose"}]}`,
    '{"type":"slots","sequence":1,"slots":{}}',
    '{"type":"slots","sequence":1,"slots":[],"voices":0}',
    '{"type":"slots","sequence":1,"slots":[],"voices":41}',
    '{"type":"turn","username":"1:a"}',
    `{"type":"turn","username":"${"u".repeat(129)}","credential":"b"}`,
    `{"type":"error","code":"x","message":"${"m".repeat(1025)}"}`,
    `{"type":"offer","revision":1,"sdp":"${"s".repeat(65536)}"}`,
  ];
  for (const frame of bad) assert.throws(() => parseServerControl(frame), CheckError, frame.slice(0, 80));
});
