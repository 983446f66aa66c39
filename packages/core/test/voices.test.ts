import assert from "node:assert/strict";
import { test } from "node:test";
import type { ParticipantId } from "../src/api.ts";
import type { CaptureState } from "../src/capture.ts";
import { isParticipantId } from "../src/ids.ts";
import { parseRoomName } from "../src/link.ts";
import { initialModel, type Model, reduce } from "../src/model.ts";
import { parseSessionEvent, voiceMessage } from "../src/session-events.ts";
import { isAnybodyUnheard, VoiceTeller, wantedVoices } from "../src/voices.ts";

function id(number: number): ParticipantId {
  const text = number.toString(16).padStart(2, "0").repeat(16);
  assert.ok(isParticipantId(text));
  return text;
}
const [self, ada, bo, cy] = [id(1), id(2), id(3), id(4)];

/** Everybody's microphone is on; those of `heard` have slots. */
function model(people: readonly ParticipantId[], heard: readonly ParticipantId[]): Model {
  const room = parseRoomName("test");
  assert.ok(room !== null);
  return {
    ...initialModel(room, {} as unknown as CaptureState),
    subscription: 1,
    roster: [self, ...people].map((incarnation) => ({ incarnation, self: incarnation === self }) as never),
    announced: new Map([self, ...people].map((incarnation) => [incarnation, { microphone: true, camera: false, screen: false, video: [] }])),
    slots: new Map(heard.map((incarnation, index) => [`a${index}`, { mid: `a${index}`, incarnation, source: "microphone" }])),
  };
}

const say = (before: Model, incarnation: ParticipantId): Model =>
  reduce(before, { type: "session", event: parseSessionEvent(JSON.stringify({ type: "application", incarnation, text: voiceMessage })) ?? assert.fail(), calendarMs: 0 }, 0);

test("where everybody has a slot, nobody's voice is told or asked for", () => {
  const all = model([ada, bo, cy], [ada, bo, cy]);
  assert.equal(isAnybodyUnheard(all), false);
  assert.deepEqual(wantedVoices(say(all, cy)), []);
  const teller = new VoiceTeller();
  for (let now = 0; now < 60_000; now += 50) assert.equal(teller.handle(now, 1, isAnybodyUnheard(all)), false);
});

test("with more microphones than slots, who says that they speak is asked for, the latest first, then who is heard speaking", () => {
  const crowd = model([ada, bo, cy], [ada]);
  assert.equal(isAnybodyUnheard(crowd), true);
  assert.deepEqual(wantedVoices(crowd), []);
  const told = say(say(say(crowd, cy), bo), cy);
  assert.deepEqual(wantedVoices(told), [cy, bo]);
  assert.deepEqual(wantedVoices({ ...told, speakers: { ...told.speakers, speaking: new Set([ada, bo]) } }), [cy, bo, ada]);
});

test("who turned the microphone off, left or is nobody here is not asked for, and of many the latest sixteen", () => {
  const crowd = say(say(say(model([ada, bo, cy], [ada]), bo), cy), id(99));
  assert.deepEqual(wantedVoices({ ...crowd, departed: new Set([bo]), announced: new Map([...crowd.announced].filter(([who]) => who !== cy).concat([[ada, crowd.announced.get(ada) ?? assert.fail()]])) }), []);
  const many = Array.from({ length: 60 }, (_, index) => id(index + 10));
  const loud = many.reduce(say, model(many, many.slice(0, 40)));
  assert.deepEqual(wantedVoices(loud), [...many].reverse().slice(0, 16));
});

test("where forty others are on, somebody may miss us, though we hear them all", () => {
  const many = Array.from({ length: 40 }, (_, index) => id(index + 10));
  assert.equal(isAnybodyUnheard(model(many, many)), true);
  assert.equal(isAnybodyUnheard(model(many.slice(1), many.slice(1))), false);
});

test("a voice is told when it begins and every ten seconds, a click is not, and nothing before the room has settled", () => {
  const teller = new VoiceTeller();
  const told: number[] = [];
  const run = (from: number, until: number, level: number, unheard = true): void => {
    for (let now = from; now < until; now += 50) if (teller.handle(now, level, unheard)) told.push(now);
  };
  run(0, 400, 0.8); // people are still coming
  assert.deepEqual(told, []);
  run(400, 10_000, 0);
  run(10_000, 10_100, 0.8); // a click
  run(10_100, 20_000, 0.1);
  assert.deepEqual(told, []);
  run(20_000, 41_000, 0.8);
  assert.deepEqual(told, [20_150, 30_150, 40_150]);
  run(41_000, 45_000, 0);
  run(45_000, 46_000, 0.8); // again, after a pause
  assert.deepEqual(told.slice(3), [45_150]);
  run(46_000, 60_000, 0.8, false);
  assert.equal(told.length, 4);
});
