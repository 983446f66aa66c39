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
