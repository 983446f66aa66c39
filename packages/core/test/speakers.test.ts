import assert from "node:assert/strict";
import { test } from "node:test";
import type { ParticipantId } from "../src/api.ts";
import { SpeakerDetector } from "../src/speakers.ts";

const [ada, bo] = ["aa", "bb"] as unknown as readonly [ParticipantId, ParticipantId];

const both = new Set([ada, bo]);

function talk(detector: SpeakerDetector, from: number, until: number, levels: readonly (readonly [ParticipantId, number])[]): void {
  for (let now = from; now < until; now += 250) detector.handle(now, new Map(levels), both);
}

test("a voice shows at once, and through the pauses between words, and not the noise of a room", () => {
  const detector = new SpeakerDetector();
  assert.equal(detector.handle(0, new Map([[ada, 0.004], [bo, 0.05]]), both), true);
  assert.deepEqual([...detector.state.speaking], [bo]);
  assert.equal(detector.handle(250, new Map([[ada, 0.004], [bo, 0]]), both), false);
  assert.equal(detector.handle(750, new Map([[ada, 0.004], [bo, 0.001]]), both), false);
  assert.equal(detector.handle(1250, new Map([[ada, 0.004], [bo, 0.001]]), both), true);
  assert.equal(detector.state.speaking.size, 0);
});

test("a cough does not take the floor; who speaks on does, keeps it while speaking and in the silence after", () => {
  const detector = new SpeakerDetector();
  detector.handle(0, new Map([[ada, 0.3], [bo, 0]]), both);
  talk(detector, 250, 3000, [[ada, 0], [bo, 0]]);
  assert.equal(detector.state.main, null);
  talk(detector, 3000, 5000, [[ada, 0.03], [bo, 0]]);
  assert.equal(detector.state.main, ada);
  talk(detector, 5000, 9000, [[ada, 0.03], [bo, 0.3]]); // louder, but Ada is not done
  assert.equal(detector.state.main, ada);
  talk(detector, 9000, 11_000, [[ada, 0], [bo, 0.3]]);
  assert.equal(detector.state.main, bo);
  talk(detector, 11_000, 20_000, [[ada, 0], [bo, 0]]);
  assert.equal(detector.state.main, bo);
});

test("who turns the microphone off speaks no more, and has the floor until somebody else speaks; who goes away has it no more", () => {
  const detector = new SpeakerDetector();
  talk(detector, 0, 2000, [[ada, 0.1], [bo, 0]]);
  assert.equal(detector.state.main, ada);
  talk(detector, 2000, 9000, [[bo, 0]]);
  assert.deepEqual(detector.state, { speaking: new Set(), main: ada, ranking: [ada] });
  talk(detector, 9000, 11_000, [[bo, 0.1]]);
  assert.equal(detector.state.main, bo);
  talk(detector, 11_000, 16_000, [[ada, 0.1]]);
  assert.equal(detector.state.main, ada);
  talk(detector, 16_000, 17_000, [[bo, 0]]);
  assert.equal(detector.handle(17_000, new Map([[bo, 0]]), new Set([bo])), true);
  assert.deepEqual(detector.state, { speaking: new Set(), main: null, ranking: [ada, bo] });
});

test("the ranking names who spoke, the latest first, and not who coughed", () => {
  const detector = new SpeakerDetector();
  talk(detector, 0, 2000, [[ada, 0.1], [bo, 0]]);
  assert.deepEqual(detector.state.ranking, [ada]);
  detector.handle(2000, new Map([[ada, 0], [bo, 0.3]]), both); // a cough
  talk(detector, 2250, 5000, [[ada, 0], [bo, 0]]);
  assert.deepEqual(detector.state.ranking, [ada]);
  talk(detector, 5000, 7000, [[ada, 0], [bo, 0.1]]);
  assert.deepEqual(detector.state.ranking, [bo, ada]);
  talk(detector, 7000, 9000, [[ada, 0.1], [bo, 0.1]]);
  assert.deepEqual(detector.state.ranking, [ada, bo]);
});
