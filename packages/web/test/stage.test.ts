import assert from "node:assert/strict";
import { test } from "node:test";

import { chooseStage, placesFor } from "../src/stage.ts";

/** Capitals have a picture. */
const people = (ids: string) => [...ids].map((id) => ({ id, isSelf: id === "s", hasPicture: id !== id.toLowerCase() }));
const choose = (before: string, ids: string, spoke: string, places: number): string => chooseStage([...before], people(ids), [...spoke], places).join("");

test("where all fit all have a tile, in the order of the group, whoever speaks", () => {
  assert.equal(choose("", "abs", "b", 3), "abs");
  assert.equal(choose("ab", "abs", "", 12), "abs");
});

test("where they do not, one place says how many more there are, and oneself has one in any case", () => {
  assert.equal(choose("", "abcdefs", "", 4), "abs");
  assert.equal(choose("", "sabcdef", "", 4), "sab");
  assert.equal(choose("", "abs", "ab", 1), "s");
});

test("who speaks gets a tile, of who never spoke or spoke longest ago, and the others keep theirs where they are", () => {
  assert.equal(choose("abs", "abcdefs", "f", 4), "afs");
  assert.equal(choose("afs", "abcdefs", "ef", 4), "efs");
  assert.equal(choose("efs", "abcdefs", "def", 4), "des");
  assert.equal(choose("des", "abcdefs", "ed", 4), "des");
});

test("who has a tile keeps it over those who came before, until somebody speaks", () => {
  assert.equal(choose("fgs", "abcdefgs", "", 4), "fgs");
  assert.equal(choose("fgs", "abcdefs", "", 4), "afs"); // g left
  assert.equal(choose("afs", "abcdefs", "zf", 4), "afs"); // who has left holds no place
});

test("pictures come before initials, but not before who spoke", () => {
  assert.equal(choose("abs", "abCdEs", "", 4), "CEs");
  assert.equal(choose("abs", "abCdEs", "d", 4), "Cds");
  assert.equal(choose("CEs", "abCdEFs", "", 4), "CEs");
});

test("the large tile takes four places", () => {
  assert.equal(placesFor(true, false), 12);
  assert.equal(placesFor(true, true), 9);
  assert.equal(placesFor(false, true), 5);
});
