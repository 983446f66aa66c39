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

test("a message that is empty, too long or has no number is none", () => {
  assert.equal(cleanChat("x".repeat(3000)).length, maxChatLength);
  for (const wrong of [{ text: " \n" }, { text: "x".repeat(maxChatLength + 1) }, { number: -1 }, { number: "0" }, { text: 7 }]) {
    assert.equal(arrived(JSON.stringify({ type: "chat", number: 0, text: "hello", ...wrong })), null, JSON.stringify(wrong).slice(0, 40));
  }
});

test("the longest message fits into an application message, however it is written", () => {
  for (const letter of ["x", "\t", '"', "語"]) assert.ok(new TextEncoder().encode(writeChat({ number: Number.MAX_SAFE_INTEGER, text: letter.repeat(maxChatLength) })).length <= 16 * 1024);
});

test("what was written in the last minute is sent again, under the same numbers, until somebody comes in", () => {
  const outbox = new ChatOutbox();
  outbox.write(0, "old");
  outbox.write(30_000, "one");
  outbox.write(40_000, "two");
  assert.deepEqual(outbox.toSendAgain(70_000), [
    { number: 1, text: "one" },
    { number: 2, text: "two" },
  ]);
  outbox.forget();
  assert.deepEqual(outbox.toSendAgain(70_000), []);
  assert.equal(outbox.write(80_000, "three").number, 3);
});

test("nobody's coming and going makes a message be sent for ever", () => {
  const outbox = new ChatOutbox();
  outbox.write(0, "one");
  const copies = Array.from({ length: 100 }, (_, i) => outbox.toSendAgain(i).length).reduce((sum, sent) => sum + sent, 0);
  assert.equal(copies, 4);
});
