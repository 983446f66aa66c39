// A participant without a browser in the same room as browsers.
import assert from 'node:assert/strict';
import { joinNatively, nativeExists } from '../lib/native.mjs';
import { eventually } from '../lib/person.mjs';
import { scenario } from '../lib/world.mjs';

for (const kind of ['chrome', 'firefox']) {
  scenario(`a native participant and ${kind === 'chrome' ? 'Chromium' : 'Firefox'} see and hear each other`, async (world) => {
    const server = await world.server();
    const link = server.link();
    const ada = await world.person('Ada', kind);
    await ada.enter(link.url);
    const alone = await eventually('Ada has a safety number', async () => {
      const number = await ada.safetyNumber();
      if (number === null) throw new Error('none yet');
      return number;
    }, 20_000);
    const robot = joinNatively(link.url, 'Robot');
    try {
      await ada.seesAndHears(1);
      const together = await ada.safetyNumber();
      assert.notEqual(together, alone);
      const result = await robot.leave();
      assert.equal(result.safety_number.replaceAll(' ', ''), String(together).replaceAll(/\s/g, ''));
      assert.equal(result.undecryptable, 0);
      const camera = result.streams.find((stream) => stream.name === 'Ada' && stream.source === 'camera');
      const microphone = result.streams.find((stream) => stream.name === 'Ada' && stream.source === 'microphone');
      assert.ok(camera.decoded > 10 && camera.width > 0 && camera.undecodable === 0, JSON.stringify(camera));
      assert.ok(microphone.decoded > 10 && microphone.undecodable === 0 && microphone.loudness > 0.001, JSON.stringify(microphone));
      await eventually('the robot is out of the picture', async () => (await ada.movingPictures()) === 0);
    } finally {
      robot.end();
    }
  }, { skip: !nativeExists });
}
