import assert from "node:assert/strict";
import { test } from "node:test";
import type { ParticipantId, StageView } from "../src/api.ts";
import type { CaptureState } from "../src/capture.ts";
import { isParticipantId } from "../src/ids.ts";
import { parseRoomName } from "../src/link.ts";
import { initialModel, type Model } from "../src/model.ts";
import { viewMessage } from "../src/stage-view.ts";

function id(digits: string): ParticipantId {
  const text = digits.repeat(16);
  assert.ok(isParticipantId(text));
  return text;
}
const [ada, bo, cy] = [id("aa"), id("bb"), id("cc")];

/** Ada's camera has a slot and is proven; Bo's camera and Cy's screen have slots that no frame has come on yet. */
function model(): Model {
  const room = parseRoomName("test");
  assert.ok(room !== null);
  const empty = initialModel(room, {} as unknown as CaptureState);
  const on = { microphone: true, camera: true, screen: false, video: [] };
  return {
    ...empty,
    slots: new Map([
      ["a0", { mid: "a0", incarnation: ada, source: "microphone" }],
      ["v0", { mid: "v0", incarnation: ada, source: "camera" }],
      ["v1", { mid: "v1", incarnation: bo, source: "camera" }],
      ["v2", { mid: "v2", incarnation: cy, source: "screen" }],
    ]),
    proofs: new Map([["v0", { connection: 1, mid: "v0", incarnation: ada, leaf: 0, source: "camera" } as never]]),
    announced: new Map([
      [ada, on],
      [bo, on],
      [cy, on],
    ]),
  };
}

const stage = (isCrowded: boolean, ...tiles: readonly StageView["tiles"][number][]): StageView => ({ isCrowded, tiles });
const tile = (participant: ParticipantId, height: number): StageView["tiles"][number] => ({ participant, source: "camera", height });

test("slots of whom has a tile are asked for as high as it is, others not at all, and a screen before it has a tile", () => {
  assert.deepEqual(viewMessage(model(), stage(false, tile(ada, 180))), {
    tiles: [
      { mid: "v0", height: 180 },
      { mid: "v2", height: 360 },
    ],
    speakers: null,
  });
});

test("in a crowd a screen that is shared and has no slot is asked for by name, for nobody sees it otherwise", () => {
  const on = { microphone: true, camera: true, screen: true, video: [] };
  const roster = [ada, bo, cy].map((incarnation) => ({ incarnation, self: incarnation === bo }) as never);
  const sharing: Model = { ...model(), roster, announced: new Map([ada, bo, cy].map((incarnation) => [incarnation, on])) };
  const tiles = [
    { mid: "v0", height: 180 },
    { mid: "v2", height: 360 },
  ];
  assert.deepEqual(viewMessage(sharing, stage(true, tile(ada, 180))).tiles, [...tiles, { incarnation: ada, source: "screen", height: 360 }], "not one's own, nor what has a slot");
  const many = Array.from({ length: 90 }, (_, index) => id((index + 16).toString(16).padStart(2, "0")));
  const all: Model = { ...sharing, roster: many.map((incarnation) => ({ incarnation, self: false }) as never), announced: new Map(many.map((incarnation) => [incarnation, on])) };
  const named = viewMessage(all, stage(true, tile(ada, 180), ...many.map((incarnation) => tile(incarnation, 90)))).tiles.filter((asked) => "incarnation" in asked);
  assert.deepEqual([named.length, named.filter(({ source }) => source === "screen").length], [40, 8], "no more than the server takes");
  assert.deepEqual(viewMessage(sharing, stage(false, tile(ada, 180))).tiles, tiles, "where there is room all have slots");
});

test("in a crowd a tile without a slot is asked for by name, if there is a camera, and who speaks next besides", () => {
  const crowded = stage(true, tile(bo, 240.4), tile(cy, 120));
  const tiles = [
    { mid: "v1", height: 240 },
    { mid: "v2", height: 360 },
    { incarnation: cy, source: "camera", height: 120 },
  ];
  assert.deepEqual(viewMessage(model(), crowded), { tiles, speakers: { count: 2, height: 240 } });
  const off = { ...model(), announced: new Map() };
  assert.deepEqual(viewMessage(off, crowded).tiles, tiles.slice(0, 2));
  assert.equal(viewMessage(model(), stage(true)).speakers, null);
});
