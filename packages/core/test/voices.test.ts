import assert from "node:assert/strict";
import { test } from "node:test";
import type { ParticipantId } from "../src/api.ts";
import type { CaptureState } from "../src/capture.ts";
import { isParticipantId } from "../src/ids.ts";
import { parseRoomName } from "../src/link.ts";
import { initialModel, type Model, reduce } from "../src/model.ts";
import { parseSessionEvent, voiceMessage } from "../src/session-events.ts";
import { isCrowded, VoiceTeller, wantedVoices } from "../src/voices.ts";

function id(number: number): ParticipantId {
  const text = number.toString(16).padStart(2, "0").repeat(16);
  assert.ok(isParticipantId(text));
  return text;
}
const [self, ada, bo, cy] = [id(1), id(2), id(3), id(4)];

const crowd = Array.from({ length: 60 }, (_, index) => id(index + 10));

/** Everybody's microphone is on; those of `heard` have slots, of which the server says that there are so many. */
function model(people: readonly ParticipantId[], heard: readonly ParticipantId[], slots = 40): Model {
  const room = parseRoomName("test");
  assert.ok(room !== null);
  const before: Model = {
    ...initialModel(room, {} as unknown as CaptureState),
    subscription: 1,
    roster: [self, ...people].map((incarnation) => ({ incarnation, self: incarnation === self }) as never),
    announced: new Map([self, ...people].map((incarnation) => [incarnation, { microphone: true, camera: false, screen: false, video: [] }])),
  };
  return reduce(before, { type: "slots", sequence: 1, voices: slots, slots: heard.map((incarnation, index) => ({ mid: `a${index}`, incarnation, source: "microphone" })) }, 0);
}

const say = (before: Model, incarnation: ParticipantId, now = 0): Model =>
  reduce(before, { type: "session", event: parseSessionEvent(JSON.stringify({ type: "application", incarnation, text: voiceMessage })) ?? assert.fail(), calendarMs: 0 }, now);
const hearing = (before: Model, ...ids: readonly ParticipantId[]): Model => ({ ...before, speakers: { ...before.speakers, speaking: new Set(ids) } });

test("where everybody has a slot, nobody's voice is told or asked for", () => {
  const all = model([ada, bo, cy], [ada, bo, cy]);
  assert.equal(isCrowded(all), false);
  assert.deepEqual(wantedVoices(say(all, cy), 0), []);
  const teller = new VoiceTeller();
  for (let now = 0; now < 60_000; now += 50) assert.equal(teller.handle(now, 1, isCrowded(all)), false);
});

test("... nor in a room of few, whomever the server leaves out, however few slots it says there are, and whoever announces a microphone without one", () => {
  for (const slots of [1, 2, 8, 40]) {
    const few = model(crowd.slice(0, 7), [], slots);
    assert.equal(isCrowded(few), false);
    assert.deepEqual(wantedVoices(say(few, id(10)), 0), []);
  }
});

test("... and in a room of as many others as there are slots, who hears them all asks for nobody, and tells, since who has no microphone may miss us", () => {
  const full = (slots: number): Model => model(crowd.slice(0, slots), crowd.slice(0, slots), slots);
  for (const slots of [8, 20, 40]) {
    assert.equal(isCrowded(full(slots)), true);
    assert.deepEqual(wantedVoices(say(full(slots), id(10)), 0), []);
    assert.equal(isCrowded(model(crowd.slice(1, slots), crowd.slice(1, slots), slots)), false);
  }
  assert.equal(isCrowded({ ...full(40), departed: new Set([id(10)]) }), false);
});

/** The last of them has no slot. */
const crowded = model([ada, bo, cy, ...crowd], [ada, ...crowd]);

test("with more microphones than slots, who says that they speak is asked for, the latest first, then who is heard speaking", () => {
  assert.deepEqual(wantedVoices(crowded, 0), []);
  const told = say(say(say(crowded, cy, 0), bo, 1000), cy, 3000);
  assert.deepEqual(wantedVoices(told, 3000), [cy, bo]);
  assert.deepEqual(wantedVoices(hearing(told, ada, bo), 3000), [cy, bo, ada]);
});

test("who speaks now comes before who said so longer ago, and who says it no more is forgotten", () => {
  const told = hearing(say(say(crowded, ada, 0), cy, 14_000), bo);
  assert.deepEqual(wantedVoices(hearing(say(crowded, ada, 0), bo), 11_000), [ada, bo]);
  assert.deepEqual(wantedVoices(told, 15_000), [cy, bo, ada]);
  assert.deepEqual(wantedVoices(told, 31_000), [bo, cy]);
  assert.deepEqual(wantedVoices(say(told, cy, 24_000), 31_000), [cy, bo]);
});

test("who says it again at once is not listened to", () => {
  const told = say(say(crowded, cy, 0), bo, 10);
  assert.deepEqual(wantedVoices(say(told, cy, 1900), 2000), [bo, cy]);
  assert.deepEqual(wantedVoices(say(told, cy, 2000), 2000), [cy, bo]);
});

test("who turned the microphone off, left or is nobody here is not asked for, and of many the latest sixteen", () => {
  const told = say(say(say(crowded, bo), cy), id(99));
  assert.deepEqual(wantedVoices({ ...told, departed: new Set([bo]), announced: new Map([...told.announced].filter(([who]) => who !== cy)) }, 0), []);
  const loud = crowd.reduce((before, who) => say(before, who), crowded);
  assert.deepEqual(wantedVoices(loud, 0), [...crowd].reverse().slice(0, 16));
});

test("a voice is told when it begins and every ten seconds, a click is not, and nothing before the room has settled", () => {
  const teller = new VoiceTeller();
  const told: number[] = [];
  const run = (from: number, until: number, level: number, crowded = true): void => {
    for (let now = from; now < until; now += 50) if (teller.handle(now, level, crowded)) told.push(now);
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
