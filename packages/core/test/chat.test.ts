import assert from "node:assert/strict";
import { test } from "node:test";
import { ChatOutbox, cleanChat, maxChatLength } from "../src/chat.ts";
import { parseSessionEvent, writeChat } from "../src/session-events.ts";

const incarnation = "aa".repeat(16);
const arrived = (text: string) => parseSessionEvent(JSON.stringify({ type: "application", incarnation, text }));

test("what one member writes another reads, line by line, and nothing invisible with it", () => {
  const text = cleanChat("  first\u0000 line\nsecond\u0007 \t");
  assert.equal(text, "first line\nsecond");
  assert.deepEqual(arrived(writeChat({ number: 3, text })), { type: "chat", incarnation, number: 3, text });
});

test("what a sender's program left in a message that no text needs is taken out, lines and tabs stay", () => {
  assert.deepEqual(arrived(writeChat({ number: 0, text: " a\u0000b\u009bc\n\td\u0007 " })), { type: "chat", incarnation, number: 0, text: "abc\n\td" });
});

test("a message that is empty, too long or has no number is none", () => {
  assert.equal(cleanChat("x".repeat(3000)).length, maxChatLength);
  for (const wrong of [{ text: " \n" }, { text: "\u0000\u0007\u009b" }, { text: " \u0000 \n" }, { text: "x".repeat(maxChatLength + 1) }, { number: -1 }, { number: "0" }, { text: 7 }]) {
    assert.equal(arrived(JSON.stringify({ type: "chat", number: 0, text: "hello", ...wrong })), null, JSON.stringify(wrong).slice(0, 40));
  }
});

test("the longest message fits into an application message, however it is written", () => {
  for (const letter of ["x", "\t", '"', "語"]) assert.ok(new TextEncoder().encode(writeChat({ number: Number.MAX_SAFE_INTEGER, text: letter.repeat(maxChatLength) })).length <= 16 * 1024);
});

const again = (outbox: ChatOutbox, now: number): readonly number[] => {
  outbox.handleBack(now - 1000);
  return outbox.toSendAgain(now).map(({ number }) => number);
};

test("what was written in the last minute is sent again, until somebody comes in", () => {
  const outbox = new ChatOutbox();
  outbox.add(0, { number: 0, text: "old" });
  outbox.add(30_000, { number: 1, text: "one" });
  outbox.add(40_000, { number: 2, text: "two" });
  assert.deepEqual(again(outbox, 70_000), [1, 2]);
  assert.deepEqual(outbox.forget(70_500), [], "nobody waits for them any more");
  assert.deepEqual(again(outbox, 71_000), []);
});

test("all who come back together get one copy, a second after the last of them or four after the first", () => {
  const outbox = new ChatOutbox();
  outbox.handleBack(0);
  assert.equal(outbox.deadline, null, "nothing to send");
  outbox.add(0, { number: 0, text: "one" });
  for (let i = 0; i < 10; i += 1) outbox.handleBack(i * 200);
  assert.equal(outbox.deadline, 2800);
  assert.deepEqual(outbox.toSendAgain(2799), []);
  assert.deepEqual(outbox.toSendAgain(2800), [{ number: 0, text: "one" }]);
  assert.equal(outbox.deadline, null);
  for (let i = 0; i < 100; i += 1) outbox.handleBack(10_000 + i * 200);
  assert.equal(outbox.deadline, 14_000);
  assert.deepEqual(outbox.forget(13_999), [0], "it was to be sent again, and is not");
  assert.equal(outbox.deadline, null);
});

test("nobody's coming and going makes a message be sent for ever", () => {
  const outbox = new ChatOutbox();
  outbox.add(0, { number: 0, text: "one" });
  const copies = Array.from({ length: 20 }, (_, i) => again(outbox, 2000 * i).length).reduce((sum, sent) => sum + sent, 0);
  assert.equal(copies, 4);
});

test("a message too old to be sent again is not said to be missing when somebody comes in, and neither is one of which all copies are sent", () => {
  const outbox = new ChatOutbox();
  outbox.add(0, { number: 0, text: "old" });
  outbox.handleBack(60_000);
  assert.equal(outbox.deadline, null, "nothing to send");
  outbox.add(60_000, { number: 1, text: "new" });
  outbox.handleBack(61_000);
  assert.deepEqual(outbox.forget(61_500), [1]);

  outbox.add(70_000, { number: 2, text: "often" });
  for (let i = 1; i <= 4; i += 1) assert.deepEqual(again(outbox, 70_000 + 2000 * i), [2]);
  outbox.add(80_000, { number: 3, text: "not yet" });
  outbox.handleBack(80_000);
  assert.deepEqual(outbox.forget(80_500), [3]);
});
