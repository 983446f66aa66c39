import "./globals.ts";
import assert from "node:assert/strict";
import { test } from "node:test";
import { decodeRoomSecret, makeRoomLink, newRoomName, newRoomSecret, parseRoomLink, parseRoomName } from "../src/link.ts";
import { roomSuites, suiteNumber } from "../src/suites.ts";

test("a link made from a new room and secret parses to the same", () => {
  for (let round = 0; round < 100; round += 1) {
    const room = newRoomName();
    const secret = newRoomSecret();
    assert.deepEqual(parseRoomLink(makeRoomLink("https://meet.example/anything", room, secret)), { kind: "complete", room, secret, suite: "standard" });
    assert.equal(decodeRoomSecret(secret).length, 16);
  }
});

test("the secret stands behind the number sign and nowhere else", () => {
  const room = parseRoomName("abc");
  assert.ok(room !== null);
  const secret = newRoomSecret();
  const link = new URL(makeRoomLink("http://127.0.0.1:8080", room, secret));
  assert.equal(link.hash, `#${secret}`);
  assert.equal(link.pathname, "/r/abc");
  assert.equal(link.search, "");
});

test("a link without secret says so", () => {
  assert.deepEqual(parseRoomLink("https://meet.example/r/abc"), { kind: "without-secret", room: "abc" });
  assert.deepEqual(parseRoomLink("https://meet.example/r/abc#"), { kind: "without-secret", room: "abc" });
});

test("a secret of the wrong length, alphabet or spelling is damaged", () => {
  for (const secret of ["A", "A".repeat(21), "A".repeat(23), `${"A".repeat(21)}+`, `${"A".repeat(21)}B`]) {
    assert.equal(parseRoomLink(`https://meet.example/r/abc#${secret}`).kind, "damaged-secret", secret);
  }
  assert.equal(parseRoomLink(`https://meet.example/r/abc#${"A".repeat(22)}`).kind, "complete");
});

test("what is not a room's address is not a room", () => {
  for (const link of ["", "nonsense", "https://meet.example/", "https://meet.example/r/", "https://meet.example/r/A_B", `https://meet.example/r/${"a".repeat(65)}`, "https://meet.example/x/abc"]) {
    assert.equal(parseRoomLink(link).kind, "not-a-room", link);
  }
});

test("a typed room name is brought to its form or refused", () => {
  assert.equal(parseRoomName(" Blue Whale "), "blue-whale");
  assert.equal(parseRoomName(""), null);
  assert.equal(parseRoomName("größe"), null);
  assert.equal(parseRoomName("a".repeat(65)), null);
});

test("the suite stands behind the secret, and a suite that is not known is not taken for another", () => {
  const room = parseRoomName("abc");
  assert.ok(room !== null);
  const secret = newRoomSecret();
  for (const suite of roomSuites) {
    const link = makeRoomLink("https://meet.example", room, secret, suite);
    assert.equal(link, `https://meet.example/r/abc#${secret}${suite === "standard" ? "" : `.${suite}`}`);
    assert.deepEqual(parseRoomLink(link), { kind: "complete", room, secret, suite });
  }
  assert.deepEqual(roomSuites.map(suiteNumber), roomSuites.map((_, index) => index), "SatsumaSuite of the module, in its order");
  for (const suffix of [".", ".x", ".standard", ".aes.b128", ".AES"]) {
    assert.deepEqual(parseRoomLink(`https://meet.example/r/abc#${secret}${suffix}`), { kind: "unknown-suite", room: "abc" }, suffix);
  }
  assert.equal(parseRoomLink("https://meet.example/r/abc#AAAA.b128").kind, "damaged-secret");
});
