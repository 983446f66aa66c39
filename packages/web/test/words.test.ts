import assert from "node:assert/strict";
import { test } from "node:test";

import { isolated, kilobits, linkParts, reasonText } from "../src/words.ts";

const nobody = { joined: [], left: [], blamed: [] };

test("a new era says whose keys did not work, where that is known", () => {
  assert.equal(reasonText({ ...nobody, kind: "new-era" }), "The group was started anew, because its keys could not be agreed on");
  assert.equal(reasonText({ ...nobody, kind: "new-era", blamed: ["Mallory"] }), "The group was started anew, because the keys that Mallory sent did not work");
});

test("who had to come in anew, and those who stayed, are told why", () => {
  assert.equal(reasonText({ ...nobody, kind: "entered" }), "You came in");
  assert.equal(reasonText({ ...nobody, kind: "entered", blamed: ["Mallory"] }), "You came in anew: the keys that Mallory sent did not work for you");
  assert.equal(reasonText({ ...nobody, kind: "changed", joined: ["Ada"], left: ["Bo", "Cy"] }), "Ada joined, Bo and Cy left");
  assert.equal(reasonText({ kind: "changed", joined: [], left: ["Bo"], blamed: ["Mallory", ""] }), "Bo left: the keys that Mallory and Someone without a name sent did not work for everybody");
});

test("a rate comes from two counts, and there is none before the second or when counting began anew", () => {
  assert.equal(kilobits(1_000, 26_000, 1_000), "200 kbit/s");
  assert.equal(kilobits(undefined, 26_000, 1_000), "");
  assert.equal(kilobits(26_000, 1_000, 1_000), "");
  assert.equal(kilobits(1_000, 26_000, 0), "");
});

test("a name from right to left does not turn a sentence around, and others stand as they are", () => {
  assert.equal(isolated("דנה"), "\u2068דנה\u2069");
  assert.equal(isolated("سلمى"), "\u2068سلمى\u2069");
  assert.equal(isolated("Ada"), "Ada");
  assert.equal(reasonText({ ...nobody, kind: "changed", joined: ["דנה", "Bo"] }), "\u2068דנה\u2069 and Bo joined");
});

test("of what is written only web addresses become links, without the sentence's own marks", () => {
  const shown = (text: string): string => linkParts(text).map(({ text: part, url }) => (url === null ? part : `[${part}]`)).join("");
  assert.equal(shown("see https://example.org/a?b=1#c, and (http://example.org)."), "see [https://example.org/a?b=1#c], and ([http://example.org]).");
  for (const text of ["javascript:alert(1)", "nothing here", "https://", "http://[x", "xhttps://a.b", ""]) assert.equal(shown(text), text);
});

test("an address that hides where it leads is no link, and one in other letters is shown as what it is", () => {
  const shown = (text: string): string => linkParts(text).map(({ text: part, url }) => (url === null ? part : `[${part}]`)).join("");
  for (const text of ["https://bank.example@evil.example/", "https://bank.example:1@evil.example/", "https://a.example/\u202egpj.exe", "https://ba\u200bnk.example/", "https://bank.example/\u2066x"]) {
    assert.equal(shown(text), text);
  }
  assert.equal(shown("https://b\u0430nk.example/a"), "[https://xn--bnk-6cd.example/a]");
  assert.equal(shown("https://bank.example\uff0eevil.example/"), "[https://bank.example.evil.example/]");
  assert.equal(shown("https:///evil.example/"), "[https://evil.example/]");
  assert.equal(shown("HTTPS://Example.org:443/\u00fc"), "HTTPS://Example.org:443/\u00fc");
  assert.equal(shown("https://Example.org:443/\u00fc"), "[https://Example.org:443/\u00fc]");
});

test("the longest message of marks is read in a time that does not grow with its square", () => {
  const time = (length: number): number => {
    const text = `https://${")".repeat(length)}x`;
    const before = process.cpuUsage().user;
    for (let at = 0; at < 20; at += 1) linkParts(text);
    return process.cpuUsage().user - before;
  };
  time(1000);
  assert.ok(time(16_000) < 16 * (time(2_000) + 20_000)); // microseconds of this process; with the square 64 times as long
});
